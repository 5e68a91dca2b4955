"""Who asks for what here: by the gateway's own policy, before any node is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from farpeek_api.gate.identifying import check_asking
from farpeek_api.http.refusals import Forbidden, NotPermitted, Unauthenticated
from farpeek_api.operations import OPERATIONS

if TYPE_CHECKING:
    from farpeek_api.gate.identifying import Asker
    from farpeek_api.policy.current import CurrentPolicy

_VERBS: Final = {each.id: each.verb for each in OPERATIONS}


class Permits:
    """What clients may ask for. What a node gives them says the policy of that node."""

    def __init__(self, current: CurrentPolicy, client: str | None) -> None:
        """``client``: in whose name all ask where there is no policy."""
        self._current = current
        self._client = client

    def name(self, asker: Asker) -> str:
        """Give the name by which the broker and the nodes know a client."""
        return asker.client if self._client is None else self._client

    def check(self, asker: Asker, operation: str) -> None:
        """Raise Forbidden, Unauthenticated unless the policy has the verb of an operation."""
        policy = self._current.policy
        if policy is None:
            return
        if asker.by != asker.client:
            check_asking(policy, asker)
        client = policy.clients.get(asker.client)
        if client is None:
            raise Unauthenticated("the policy knows the client no more")
        if client.has_expired:
            raise Unauthenticated(
                "the time of this client is over: `expires` of the policy says so"
            )
        if operation not in _VERBS:
            raise Forbidden(
                "the gateway does not know which verb of its policy allows that: the node is of a "
                "newer version than the gateway"
            )
        verb = _VERBS[operation]
        if verb is not None and verb not in client.verbs:
            raise NotPermitted(f"the client lacks the verb `{verb}`", client.place("verbs"), verb)
