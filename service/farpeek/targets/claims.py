"""Who wants a target held, and what each of them calls it."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Protocol

from farpeek.errors import TooBusy
from farpeek.identity import Claim

if TYPE_CHECKING:
    from collections.abc import Mapping


class Standing(Protocol):
    """A standing match, as far as claims go; two with one ``id`` are the same."""

    @property
    def id(self) -> str:
        """Its own."""
        ...

    @property
    def client(self) -> str:
        """Whose it is."""
        ...

    @property
    def labels(self) -> Mapping[str, str]:
        """What its client calls what it holds."""
        ...


MOST_CLIENTS: Final = 64
"""That have a claim on one target of their own."""

MOST_OF_LABELS: Final = 64 << 20
"""Bytes of the labels of all targets and clients."""

_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})


class Shares:
    """What all claims take together: bytes of labels, and running targets of each client.

    Lives on the event loop.
    """

    def __init__(self, most_targets_of_one: int, most_label_bytes: int = MOST_OF_LABELS) -> None:
        self._most_targets_of_one = most_targets_of_one
        self._most = most_label_bytes
        self.used = 0
        self._targets: dict[str, int] = {}

    def enter(self, client: str) -> None:
        """Count one target more of a client; TooBusy if it has as many as it may."""
        count = self._targets.get(client, 0)
        if count >= self._most_targets_of_one:
            raise TooBusy(
                f"this client holds {count} targets, and may hold as many (--max-client-targets): "
                "release some"
            )
        self._targets[client] = count + 1

    def leave(self, client: str) -> None:
        """Count one less."""
        self._targets[client] -= 1
        if not self._targets[client]:
            del self._targets[client]

    def exchange(self, old: Mapping[str, str], new: Mapping[str, str]) -> None:
        """Count other labels than before; TooBusy if there is no room for them."""
        used = self.used - size(old) + size(new)
        if used > self._most and used > self.used:
            raise TooBusy(f"the labels of all targets have {self._most} bytes already: use shorter")
        self.used = used


class Claims:
    """The claims on one target. Lives on the event loop.

    A client has one by registering, and each of its standing matches has one. A subscription has
    one that nobody sees. ``by_client`` is what they see: it is replaced and never changed.
    """

    __slots__ = ("_is_counted", "_matches", "_own", "_shares", "_subscriptions", "by_client")

    def __init__(self, shares: Shares) -> None:
        self._shares = shares
        self._own: dict[str, Mapping[str, str]] = {}
        self._matches: dict[str, Standing] = {}
        self._subscriptions = 0
        self._is_counted = True
        self.by_client: Mapping[str, Claim] = {}

    def __bool__(self) -> bool:
        return bool(self._own or self._matches or self._subscriptions)

    def register(self, client: str, labels: Mapping[str, str] | None) -> None:
        """Have the client claim it; ``labels`` replace its own, unless None. Raises TooBusy."""
        if client not in self._own and len(self._own) >= MOST_CLIENTS:
            raise TooBusy(f"{MOST_CLIENTS} clients hold the target already: one has to release it")
        known = self._own.get(client, _NOTHING)
        new = known if labels is None else labels
        self._shares.exchange(known, new)
        try:
            self._enter(client)
        except TooBusy:
            self._shares.exchange(new, known)
            raise
        self._own[client] = new
        self._renew(client)

    def drop(self, client: str) -> bool:
        """Drop the claim that the client has by registering; False if it has none."""
        if client not in self._own:
            return False
        self._shares.exchange(self._own.pop(client), _NOTHING)
        self._renew(client)
        return True

    def join(self, match: Standing) -> None:
        """Have a standing match hold it. Raises TooBusy."""
        self._enter(match.client)
        self._matches[match.id] = match
        self._renew(match.client)

    def leave(self, match: Standing) -> None:
        """Have it do so no more."""
        if self._matches.pop(match.id, None) is not None:
            self._renew(match.client)

    def subscribe(self) -> None:
        """One subscription more reads it."""
        self._subscriptions += 1

    def unsubscribe(self) -> None:
        """One less."""
        self._subscriptions -= 1

    def clear(self) -> None:
        """Drop all of them."""
        for client in list(self._own):
            self.drop(client)
        for match in list(self._matches.values()):
            self.leave(match)

    def count_no_more(self) -> None:
        """Have it count for nobody: it has exited, and makes room for others."""
        if self._is_counted:
            self._is_counted = False
            for client in self.by_client:
                self._shares.leave(client)

    def _enter(self, client: str) -> None:
        """Count the target as one of the client's, unless it is already."""
        if self._is_counted and client not in self.by_client:
            self._shares.enter(client)

    def _renew(self, client: str) -> None:
        own = self._own.get(client)
        matches = [match for match in self._matches.values() if match.client == client]
        others = {name: claim for name, claim in self.by_client.items() if name != client}
        if own is not None or matches:
            # Those that were set for this target alone say more than those of a match.
            merged = {
                key: text for match in reversed(matches) for key, text in match.labels.items()
            }
            first = matches[0].id if matches else None
            others[client] = Claim({**merged, **(own or _NOTHING)}, first)
        elif self._is_counted and client in self.by_client:
            self._shares.leave(client)
        self.by_client = others


def size(labels: Mapping[str, str]) -> int:
    """Bytes of all names and texts."""
    return sum(len(name.encode()) + len(text.encode()) for name, text in labels.items())
