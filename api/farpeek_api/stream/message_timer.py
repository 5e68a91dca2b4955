"""The clock of a message that is arriving on a stream.

A message may come in pieces, and be some MiB by the end; without a clock each client could have
one held for ever. Control frames can come in the middle of it, and do not count.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

_SHORTEST_LOOK_S: Final = 0.05

# RFC 6455, section 5.2.
_FIN: Final = 0x80
_OPCODE: Final = 0x0F
_CONTROL: Final = 0x08
_LENGTH: Final = 0x7F
_MASK: Final = 4
_LONG: Final = {126: 2, 127: 8}
"""Bytes of the length, where it does not fit into the second one."""
_LONGEST_HEAD: Final = 14


class FrameTracker:
    """Follows the bytes of a client's frames, to tell where messages begin and end.

    It looks at heads only. What is no WebSocket frame makes it tell nonsense, until whoever reads
    the messages closes.
    """

    def __init__(self) -> None:
        self._head = bytearray()
        self._left = 0  # bytes of payload that the frame still lacks
        self._fragmented = False  # frames of the message have come, and not its last
        self._ends_message = False  # the frame at hand does
        self._is_control = False  # the same frame is none of a message
        self.messages = 0  # that have come as a whole
        self.size = 0  # bytes that have come of the next one

    @property
    def is_between(self) -> bool:
        """Whether nothing of a message has come that was not whole."""
        return not (self._head or self._left or self._fragmented)

    def take(self, data: bytes) -> None:
        """Go on with ``data``."""
        at = 0
        while at < len(data):
            if self._left:
                taken = min(self._left, len(data) - at)
                at += taken
                self._left -= taken
                self.size += 0 if self._is_control else taken
            else:
                at = self._take_head(data, at)
            if not self._left and not self._head and self._ends_message:
                self.messages += 1
                self.size = 0
                self._ends_message = False

    def _take_head(self, data: bytes, start: int) -> int:
        """Add to the head of a frame; answer how far ``data`` is used up."""
        known = len(self._head)
        self._head += data[start : start + _LONGEST_HEAD - known]
        size = _head_size(self._head)
        if len(self._head) < size:
            return len(data)
        self._begin_frame(self._head)
        self._head.clear()
        return start + size - known

    def _begin_frame(self, head: bytearray) -> None:
        short = head[1] & _LENGTH
        size = _LONG.get(short, 0)
        self._left = int.from_bytes(head[2 : 2 + size], "big") if size else short
        self._is_control = bool(head[0] & _CONTROL)
        if not self._is_control:
            self._fragmented = not head[0] & _FIN
            self._ends_message = bool(head[0] & _FIN)


def _head_size(head: bytearray) -> int:
    """Bytes of a head of which the first ones are known: those of a client are masked."""
    least = 2
    return least if len(head) < least else least + _LONG.get(head[1] & _LENGTH, 0) + _MASK


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
        self._frames = FrameTracker()
        self._since: float | None = None
        # One timer for all its messages: most are there at once.
        self._timer = loop.call_later(self._step_s, self._look)

    def came(self, data: bytes) -> None:
        """These bytes have come."""
        before = self._frames.messages
        self._frames.take(data)
        if self._frames.is_between:
            self._since = None
        elif self._since is None or self._frames.messages != before:
            self._since = self._loop.time()

    @property
    def size(self) -> int:
        """Bytes that have come of a message that is not whole."""
        return self._frames.size

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
