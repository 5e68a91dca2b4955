"""A file behind a mapping on its way out, chunk by chunk; it holds one chunk at a time.

Deadline, slot and bytes of the budget are those of a chunk; a transfer has no total.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

from farpeek.errors import InvalidRequest
from farpeek.model import ADDRESS_LIMIT
from farpeek.reading.transfers import TargetTransfer

if TYPE_CHECKING:
    from collections.abc import Callable

    from farpeek.access.mapped_file import FileOpener, TargetFile
    from farpeek.model import Limits
    from farpeek.reading.bulk import Run
    from farpeek.reading.transfers import Times
    from farpeek.targets.target import Target
    from farpeek.threads.budget import Account, Lease

T = TypeVar("T")

CHUNK: Final = 1 << 20
"""Bytes that are read at once: as of memory."""

_IMAGE: Final = 1 << 20
"""Bytes that an open file may hold: [vdso] has no file to be read from."""


def check(address: int) -> None:
    """Raise InvalidRequest if there can be no such address."""
    if not 0 <= address < ADDRESS_LIMIT:
        raise InvalidRequest("it is no address of 64 bits", ("address",))


class FileTransfer(TargetTransfer):
    """A file of one target."""

    def __init__(  # noqa: PLR0913, PLR0917 - a transfer is made of this much
        self,
        target: Target,
        address: int,
        wanted: int | None,
        opener: FileOpener,
        run: Run,
        account: Account,
        limits: Limits,
    ) -> None:
        """``wanted`` is the program that is meant; None: whichever it is."""
        super().__init__(target, limits)
        self._address = address
        self._wanted = wanted
        self._opener = opener
        self._run = run
        self._account = account
        self._chunk_size = max(1, min(CHUNK, account.most // 4))
        self._file: TargetFile | None = None
        self._held: list[Lease] = []

    def _give_back(self) -> None:
        self._let_go()
        self._file = None

    async def begin(self) -> tuple[TargetFile, int | None]:
        """Open the file; and the number of the program that maps it, None if that is not known.

        Raises NoFile, FileRemote, TargetChanged, and what MemoryService.maps does.
        """
        times = self._first_times()
        open_it = partial(self._opener.open, self._target.process, self._address, times.deadline)
        work = partial(self._target.programs.within_one, open_it, self._wanted)
        lease = self._account.lease(min(_IMAGE, self._chunk_size))
        found, generation = await self._in_thread(work, times, lease)
        self._file = found
        return found, generation

    async def read(self, start: int, end: int) -> bytes:
        """Read up to a chunk of the file; what was read before is held no longer.

        Fewer bytes, or none, where the file has become shorter.
        """
        assert self._file is not None  # noqa: S101 - it was begun
        self._let_go()
        length = min(end - start, self._chunk_size)
        lease = await self._account.wait_for(length, 0, self._further_times().latest)
        work = partial(self._file.read, start, length)
        return await self._in_thread(work, self._further_times(), lease)

    async def _in_thread(self, work: Callable[[], T], times: Times, lease: Lease) -> T:
        """Have it done; the lease is kept until the next chunk, or the end."""
        lease.hold()
        self._held.append(lease)
        return await self._run(work, times.deadline, lease.let_go, times.latest)

    def _let_go(self) -> None:
        while self._held:
            self._held.pop().let_go()
