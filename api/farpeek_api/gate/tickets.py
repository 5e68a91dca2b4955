"""Tickets: credentials that are good once, for the one request that can have no other.

A page cannot give its WebSocket any header but ``Sec-WebSocket-Protocol``, and what a URL has is
kept in logs and histories. So the page asks for a ticket as any client does, and offers it as one
of the protocols.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from hashlib import sha256
from secrets import token_urlsafe
from typing import TYPE_CHECKING, Final, NamedTuple

from farpeek.errors import TooBusy
from farpeek_api.http.refusals import Unauthenticated
from farpeek_api.serving import limits

if TYPE_CHECKING:
    from collections.abc import Mapping

    from farpeek_api.gate.identifying import Asker
    from farpeek_api.policy.current import CurrentPolicy
    from farpeek_api.policy.rules import Policy
    from farpeek_api.serving.connection import Connection

STREAM_PATH: Final = "/v1/stream"
"""The one request that a ticket is for."""

STREAMS: Final = re.compile(re.escape(STREAM_PATH))

PROTOCOL: Final = "farpeek.v1"
"""What is spoken there; a browser that offers protocols wants one of them chosen."""

MARK: Final = "farpeek.ticket."
"""Begins the protocol that is a ticket."""

LIFETIME_S: Final = 30

_WRONG: Final = "the ticket is wrong, used, or too old, or is somebody else's: ask for another one"


class _Ticket(NamedTuple):
    """For whom it was made, and how that was found out."""

    asker: Asker
    policy: Policy | None
    other_end: tuple[object, ...]
    ends: float
    """By time.monotonic."""


class Tickets:
    """Those that are not used yet. Lives on the event loop; none is kept as it is."""

    def __init__(self, current: CurrentPolicy) -> None:
        self._current = current
        self._unused: dict[bytes, _Ticket] = {}  # the oldest first
        self._counts: Counter[str] = Counter()  # by client

    def make(self, asker: Asker, connection: Connection) -> str:
        """Make one for a client that was let in. TooBusy if it has too many of them."""
        self._forget_old()
        if self._counts[asker.client] >= limits.MOST_TICKETS_OF_ONE:
            raise TooBusy(
                f"this client has {limits.MOST_TICKETS_OF_ONE} tickets that are not used: use them"
            )
        if len(self._unused) >= limits.MOST_TICKETS:
            raise TooBusy("there are as many tickets as may be: try again")
        ticket = token_urlsafe(32)
        ends = time.monotonic() + LIFETIME_S
        self._unused[_digest(ticket)] = _Ticket(
            asker, self._current.policy, _other_end(connection), ends
        )
        self._counts[asker.client] += 1
        return ticket

    def use(self, ticket: str, connection: Connection) -> Asker:
        """Tell for whom it was made; it is good no more. Raises Unauthenticated.

        It dies with the policy by which its client was let in, for that one may be let in no more.
        """
        self._forget_old()
        made = self._drop(_digest(ticket))
        if (
            made is None
            or made.policy is not self._current.policy
            or made.other_end != _other_end(connection)
            or _has_expired(made)
        ):
            raise Unauthenticated(_WRONG)
        return made.asker

    def _forget_old(self) -> None:
        """Forget those that are too old, or of a policy that is no more."""
        now = time.monotonic()
        while self._unused:
            name, oldest = next(iter(self._unused.items()))
            if oldest.ends > now and oldest.policy is self._current.policy:
                break
            self._drop(name)

    def _drop(self, name: bytes) -> _Ticket | None:
        made = self._unused.pop(name, None)
        if made is not None:
            client = made.asker.client
            self._counts[client] -= 1
            if not self._counts[client]:
                del self._counts[client]
        return made


def offered(headers: Mapping[str, str]) -> str | None:
    """Give the ticket among the protocols that a request offers. Raises Unauthenticated."""
    protocols = map(str.strip, headers.get("Sec-WebSocket-Protocol", "").split(","))
    tickets = [each.removeprefix(MARK) for each in protocols if each.startswith(MARK)]
    if len(tickets) > 1:
        raise Unauthenticated("there are several tickets: offer one")
    return tickets[0] if tickets else None


def _digest(ticket: str) -> bytes:
    return sha256(ticket.encode("ascii", "replace")).digest()


def _other_end(connection: Connection) -> tuple[object, ...]:
    """Tell who is there, whichever of its connections it is."""
    whence = connection.whence
    host = whence.rpartition(":")[0] if isinstance(whence, str) else None
    return connection.peer_uid, host, connection.certificate


def _has_expired(made: _Ticket) -> bool:
    if made.policy is None:
        return False
    return any(made.policy.clients[name].has_expired for name in made.asker)
