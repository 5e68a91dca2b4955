"""Which client of a policy puts a request: by a token, a certificate, or the socket's other end."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from aiohttp.hdrs import AUTHORIZATION
from multidict import istr

from farpeek_api.http.refusals import Forbidden, NotPermitted, Unauthenticated
from farpeek_api.policy import decisions, tokens

if TYPE_CHECKING:
    from collections.abc import Mapping

    from farpeek_api.policy.rules import Client, Policy
    from farpeek_api.serving.connection import Connection

ON_BEHALF_OF: Final = istr("Farpeek-On-Behalf-Of")
"""By which a gateway says for whom it asks."""

_BEARER: Final = re.compile(r"bearer +(\S+) *", re.IGNORECASE)


class Asker(NamedTuple):
    """Who asks, and who does so for them; those may be the same."""

    client: str
    by: str


@lru_cache(maxsize=1024)
def for_itself(name: str) -> Asker:
    """Give who asks for nobody else: most do, and to make one takes four times as long."""
    return Asker(name, name)


def identify(policy: Policy, headers: Mapping[str, str], connection: Connection) -> Asker:
    """Give whose rules count. Raises Unauthenticated, Forbidden."""
    own = _own(policy, headers.get(AUTHORIZATION), connection)
    if not own.lasts and own.has_expired:
        raise Unauthenticated("the time of this client is over: `expires` of the policy says so")
    wanted = headers.get(ON_BEHALF_OF)
    if wanted is None:
        return for_itself(own.name)
    asker = Asker(wanted, own.name)
    check_asking(policy, asker)
    return asker


def check_asking(policy: Policy | None, asker: Asker) -> None:
    """Raise Forbidden unless the policy lets the one ask for the other."""
    own = None if policy is None else policy.clients.get(asker.by)
    if policy is None or own is None:
        raise Forbidden("the policy knows the client no more that asks for another")
    decision = decisions.decide_asking(own, asker.client, policy)
    if not decision.allowed:
        raise NotPermitted(
            f"{decision.text}: `{ON_BEHALF_OF}` is for clients whose `impersonate` in the policy "
            "has the name that it says",
            decision.rule,
            decisions.IMPERSONATE,
        )


def _own(policy: Policy, authorization: str | None, connection: Connection) -> Client:
    # What is sent is judged: behind a proxy that runs as root everybody's peer is root.
    if authorization is not None:
        name = policy.identifiers.tokens.get(tokens.digest(_bearer(authorization)))
        if name is None:
            raise Unauthenticated(_wrong(_bearer(authorization)))
        return policy.clients[name]
    name = None
    if connection.certificate is not None:
        subject, names = connection.certificate.subject, connection.certificate.names
        name = policy.identifiers.by_certificate(subject, names)
    elif connection.peer is not None:
        name = policy.identifiers.by_peer(connection.peer.uid, connection.peer.gid)
    if name is None:
        raise Unauthenticated(
            "the policy names nobody who gets in like this: send `Authorization: Bearer TOKEN`"
        )
    return policy.clients[name]


def _bearer(authorization: str) -> str:
    found = _BEARER.fullmatch(authorization)
    if found is None:
        raise Unauthenticated("only `Authorization: Bearer TOKEN` is understood")
    return found[1]


def _wrong(token: str) -> str:
    if tokens.is_broken(token):
        return "the token is not whole: its checksum says that it was cut, or mistyped"
    return "the token is not one that the policy knows"
