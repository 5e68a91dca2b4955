"""A search as a policy lets it go on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, Self

from farpeek.search.model import Stopped

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from farpeek.model import Mode
    from farpeek.search.model import Progress
    from farpeek.search.searching import Search


class _Confirm(Protocol):
    """Lets a part of the answer go out."""

    async def __call__(self, generation: int | None, mode: Mode, size: int) -> None:
        """See ``MemoryReach.confirm_chunk``."""
        ...


class GuardedSearch:
    """A search on its way; see ``Search``."""

    def __init__(
        self, search: Search[bytes], confirm: _Confirm, look: Callable[[], None], mode: Mode
    ) -> None:
        """``look`` raises what stands against going on."""
        self.look = look
        self._search = search
        self._confirm_chunk = confirm
        self._mode = mode

    def __enter__(self) -> Self:
        self._search.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._search.__exit__(kind, error, traceback)

    @property
    def generation(self) -> int | None:
        """See ``Search``."""
        return self._search.generation

    @property
    def progress(self) -> Progress:
        """See ``Search``."""
        return self._search.progress

    @property
    def is_done(self) -> bool:
        """See ``Search``."""
        return self._search.is_done

    @property
    def stopped(self) -> Stopped | None:
        """See ``Search``."""
        return self._search.stopped

    async def begin(self) -> None:
        """See ``Search``."""
        await self._search.begin()
        await self._confirm(0)

    async def next(self, most_s: float) -> bytes | None:
        """See ``Search``."""
        encoded = await self._search.next(most_s)
        await self._confirm(len(encoded or b""))
        return encoded

    async def _confirm(self, size: int) -> None:
        if self._search.stopped is Stopped.TARGET_EXITED:
            return  # there is nobody left to be judged, and no more of it is told
        await self._confirm_chunk(self.generation, self._mode, size)
