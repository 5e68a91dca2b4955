"""How many of a thing each client has open: each takes memory, and work with whatever happens."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from farpeek.errors import TooBusy

if TYPE_CHECKING:
    from collections.abc import Generator


class Shares:
    """Counts things of one kind by client. Lives on the event loop."""

    def __init__(self, most: int, things: str, setting: str) -> None:
        self._most = most
        self._things = things
        self._setting = setting
        self._counts: dict[str, int] = {}

    @contextmanager
    def one_more(self, client: str) -> Generator[None]:
        """Count one more meanwhile; TooBusy if that is one too many."""
        count = self._counts.get(client, 0)
        if count >= self._most:
            raise TooBusy(
                f"this client has {count} {self._things} open, and may have as many "
                f"({self._setting}): close some"
            )
        self._counts[client] = count + 1
        try:
            yield
        finally:
            self._counts[client] -= 1
            if not self._counts[client]:
                del self._counts[client]
