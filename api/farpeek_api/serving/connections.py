"""How many connections there may be: in all, of one client, and of those who are unknown.

Each takes a descriptor and some memory. Whoever has not shown who it is gets a part only, and its
oldest idle connection makes room for a new one: a probe, or a caller who is about to show a token,
always gets in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from farpeek.errors import TooBusy

if TYPE_CHECKING:
    from collections.abc import Container


_MOST: Final = 4096


class Member(Protocol):
    """A connection, as far as it is counted."""

    @property
    def is_idle(self) -> bool:
        """Whether it waits for a request."""
        ...

    def drop(self) -> None:
        """End it at once."""
        ...


class Connections:
    """All connections. Lives on the event loop."""

    def __init__(
        self, most: int, known_uids: Container[int], most_of_one: int | None = None
    ) -> None:
        """A client may have ``most_of_one``, which is three quarters where nothing is said."""
        self.most = most
        self.most_unknown = max(1, most // 2)
        self.most_of_one = most_of_one or max(1, most - most // 4)
        self._known_uids = known_uids
        self._unknown: dict[Member, None] = {}  # the oldest one first
        self._known: dict[Member, str] = {}
        self._by_client: dict[str, int] = {}

    @property
    def open(self) -> int:
        """How many there are."""
        return len(self._unknown) + len(self._known)

    @property
    def limits(self) -> dict[str, float | None]:
        """As `/v1/info` calls them."""
        return {"max_connections": self.most, "max_client_connections": self.most_of_one}

    def shown(self) -> dict[str, Any]:
        """What `/v1/info` tells."""
        return {"open": self.open, "unknown": len(self._unknown), "most": self.most}

    def enter(self, member: Member, uid: int | None) -> None:
        """Count a new connection; TooBusy if there is no room for it."""
        is_known = uid is not None and uid in self._known_uids
        if not is_known and len(self._unknown) >= self.most_unknown:
            self._make_room()
        if self.open >= self.most:
            self._make_room()
        if is_known:
            self._add(member, f"uid {uid}")
        else:
            self._unknown[member] = None

    def know(self, member: Member, client: str, most: int | None = None) -> None:
        """Count it as that of ``client``; TooBusy if it has as many as it may, or ``most``."""
        if self._known.get(member) == client:
            return
        if most is not None and self._by_client.get(client, 0) >= most:
            raise TooBusy(f"the policy lets this client have {most} connections: use fewer")
        self._add(member, client)

    def leave(self, member: Member) -> None:
        """Count it no more."""
        self._unknown.pop(member, None)
        client = self._known.pop(member, None)
        if client is not None:
            self._by_client[client] -= 1
            if not self._by_client[client]:
                del self._by_client[client]

    def _add(self, member: Member, client: str) -> None:
        count = self._by_client.get(client, 0)
        if count >= self.most_of_one:
            raise TooBusy(
                f"this client has {count} connections already, and may have as many "
                "(--max-client-connections): use fewer, or raise that, or the descriptor limit "
                "(ulimit -n, LimitNOFILE=)"
            )
        self.leave(member)
        self._known[member] = client
        self._by_client[client] = count + 1

    def _make_room(self) -> None:
        """End the oldest connection that is unknown and idle; TooBusy if there is none."""
        for member in self._unknown:
            if member.is_idle:
                self.leave(member)
                member.drop()
                return
        raise TooBusy(
            f"{self.open} connections are open (--max-connections): close some, or raise that, or "
            "the descriptor limit (ulimit -n, LimitNOFILE=)"
        )


def affordable(descriptors: int, targets: int, wanted: int | None = None) -> int:
    """Answer how many connections a limit of descriptors allows beside so many targets.

    At most those that are wanted, or 4096. Half of what targets leave; the rest is for the files
    that reads look into.
    """
    return min(wanted or _MOST, max(16, (descriptors - targets) // 2))
