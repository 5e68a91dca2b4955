"""How many bytes of targets' memory may be held at once, by all requests together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from farpeek.errors import TooBusy

if TYPE_CHECKING:
    from types import TracebackType


class Budget:
    """A number of bytes that is handed out and given back. Lives on the event loop."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.used = 0

    def lease(self, size: int) -> Lease:
        """Take ``size`` bytes; TooBusy if they are not there now."""
        if self.used + size > self.most:
            raise TooBusy(
                f"{self.used} of {self.most} bytes of target memory are held by other requests "
                "(--max-inflight-bytes)"
            )
        self.used += size
        return Lease(self, size)


class Lease:
    """Bytes that are given back when the last holder lets go: the request, or its thread.

    A context manager for the request; the thread's hold outlives it if the thread hangs.
    """

    __slots__ = ("_budget", "_holders", "size")

    def __init__(self, budget: Budget, size: int) -> None:
        self._budget = budget
        self.size = size
        self._holders = 1

    def hold(self) -> None:
        """One more holder."""
        self._holders += 1

    def let_go(self) -> None:
        """One holder less."""
        self._holders -= 1
        if not self._holders:
            self._budget.used -= self.size

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.let_go()
