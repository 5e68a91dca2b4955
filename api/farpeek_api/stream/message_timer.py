"""The clock of a message that is arriving on a stream.

A message may come in pieces, and be some MiB by the end; without a clock each client could have
one held for ever. Control frames can come in the middle of it, and do not count.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

_HEAD: Final = 6
"""Of a client's control frame: two bytes, and the mask; RFC 6455, section 5.2."""

_SHORTEST_LOOK_S: Final = 0.05


class MessageTimer:
    """Calls ``late`` once a message has been arriving for longer than ``deadline_s``.

    ``is_awaited`` says whether anybody is there to take a message: else it may have come already.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        deadline_s: float,
        is_awaited: Callable[[], bool],
        late: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._deadline_s = deadline_s
        self._is_awaited = is_awaited
        self._late = late
        self._pending = 0  # bytes of no whole frame so far
        self._since: float | None = None
        # One timer for all its messages: most are there at once.
        self._timer = loop.call_later(self._step_s, self._look)

    def came(self, size: int) -> None:
        """So many bytes have come."""
        self._pending += size
        if self._since is None:
            self._since = self._loop.time()

    def message(self) -> None:
        """A message was whole."""
        self._pending = 0
        self._since = None

    def control(self, payload: int) -> None:
        """A control frame with so many bytes was."""
        self._pending -= payload + _HEAD
        if self._pending <= 0:
            self.message()

    def close(self) -> None:
        """Stop the clock."""
        self._timer.cancel()

    @property
    def _step_s(self) -> float:
        return max(self._deadline_s / 2, _SHORTEST_LOOK_S)

    def _look(self) -> None:
        now = self._loop.time()
        if self._since is not None and not self._is_awaited():
            self._since = now
        if self._since is not None and now - self._since > self._deadline_s:
            self._late()
            return
        self._timer = self._loop.call_later(self._step_s, self._look)
