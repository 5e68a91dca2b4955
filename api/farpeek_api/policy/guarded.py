"""Long answers as a policy lets them go on: each part is confirmed before it goes out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Generic, Self, TypeAlias, TypeVar

from farpeek.reading.bulk import Transfer
from farpeek.reading.files import FileTransfer
from farpeek.reading.pieces import PieceTransfer
from farpeek.search.model import Stopped
from farpeek.search.searching import Search
from farpeek_api.http.refusals import Changing

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from farpeek.access.mapped_file import TargetFile
    from farpeek.reading.bulk import Extent
    from farpeek.search.model import Progress

Confirm: TypeAlias = Callable[[int | None, int], Awaitable[None]]
"""Lets so many bytes of the program of that number go out."""

Look: TypeAlias = Callable[[], Any]
"""Raises what stands against going on."""

L = TypeVar("L", bound=Transfer | PieceTransfer | FileTransfer | Search[bytes])


class _Guarded(Generic[L]):
    """A long answer; used in a ``with``, as what it guards is."""

    def __init__(self, guarded: L, confirm: Confirm, look: Look) -> None:
        self.look = look
        self._guarded = guarded
        self._confirm = confirm

    def __enter__(self) -> Self:
        self._guarded.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._guarded.__exit__(kind, error, traceback)


class GuardedTransfer(_Guarded[Transfer]):
    """A range on its way out; see ``Transfer``."""

    _generation: int | None = None

    async def begin(self) -> Extent:
        """See ``Transfer``."""
        extent = await self._guarded.begin()
        self._generation = extent.generation
        await self._confirm(extent.generation, 0)
        return extent

    async def next(self) -> bytes | bytearray:
        """See ``Transfer``."""
        chunk = await self._guarded.next()
        await self._confirm(self._generation, len(chunk))
        return chunk


class GuardedPieces(_Guarded[PieceTransfer]):
    """Ranges in pieces on their way out; see ``PieceTransfer``."""

    @property
    def generation(self) -> int | None:
        """See ``PieceTransfer``."""
        return self._guarded.generation

    async def begin(self) -> None:
        """See ``PieceTransfer``."""
        await self._guarded.begin()
        await self._confirm(self.generation, 0)

    async def next(self) -> Sequence[bytes | memoryview] | None:
        """See ``PieceTransfer``."""
        batch = await self._guarded.next()
        await self._confirm(self.generation, sum(map(len, batch or ())))
        return batch


class GuardedFile(_Guarded[FileTransfer]):
    """A file behind a mapping on its way out; see ``FileTransfer``."""

    async def begin(self) -> tuple[TargetFile, int | None]:
        """See ``FileTransfer``."""
        found, generation = await self._guarded.begin()
        await self._confirm(generation, 0)
        return found, generation

    async def read(self, start: int, end: int) -> bytes:
        """See ``FileTransfer``. The file is the same, whatever the target executes by now."""
        chunk = await self._guarded.read(start, end)
        await self._confirm(None, len(chunk))
        return chunk


class GuardedSearch(_Guarded[Search[bytes]]):
    """A search on its way; see ``Search``."""

    @property
    def generation(self) -> int | None:
        """See ``Search``."""
        return self._guarded.generation

    @property
    def progress(self) -> Progress:
        """See ``Search``."""
        return self._guarded.progress

    @property
    def is_done(self) -> bool:
        """See ``Search``."""
        return self._guarded.is_done

    @property
    def stopped(self) -> Stopped | None:
        """See ``Search``."""
        return self._guarded.stopped

    async def begin(self) -> None:
        """See ``Search``."""
        await self._guarded.begin()
        await self._confirm_found(0)

    async def next(self, most_s: float) -> bytes | None:
        """See ``Search``."""
        encoded = await self._guarded.next(most_s)
        try:
            await self._confirm_found(len(encoded or b""))
        except Changing:
            self.look()  # or it is not to be told what became of the target
            self._guarded.stop(Stopped.TARGET_CHANGED)
            return None
        return encoded

    async def _confirm_found(self, size: int) -> None:
        if self._guarded.stopped is Stopped.TARGET_EXITED:
            return  # there is nobody left to be judged, and no more of it is told
        await self._confirm(self.generation, size)
