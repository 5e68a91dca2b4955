"""What takes long of a target's memory: searches, ranges of any length, dumps and cores."""

from __future__ import annotations

from typing import TYPE_CHECKING

from farpeek_api.client.operations import flow, operation
from farpeek_api.client.steps import PATIENCE_S

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping, Sequence

    from farpeek_api.client.calls import Mode
    from farpeek_api.client.cores import Core
    from farpeek_api.client.pieces import Piece, Range
    from farpeek_api.client.ranges import Dump
    from farpeek_api.client.results import TargetInfo
    from farpeek_api.client.searches import Pattern, SearchItem
    from farpeek_api.client.steps import Call, Flow


class LongReads:
    """What can be read of a target's memory, however much it is."""

    info: TargetInfo

    @flow
    def search(  # noqa: PLR0913 - what the call has
        self,
        pattern: Pattern,
        *,
        ranges: Sequence[Range] | None = None,
        mappings: Mapping[str, object] | None = None,
        mode: Mode | None = None,
        limit: int | None = None,
        context: int | None = None,
        within: Sequence[int] | None = None,
        timeout_s: float | None = None,
        generation: int | None = None,
    ) -> Flow[SearchItem]:
        r"""Look for a text, bytes, or a pattern as the wire has it, and give what is found.

        That is a `SearchMatch` for each place, by rising addresses; a `SearchProgress` now and
        then; and a `SearchDone` at the end. Interrupted where the answer is cut off. By default all
        that is readable is searched, and nothing is brought into memory for it: what is not
        resident is left alone, and counted.

        >>> from farpeek_api.client import SearchMatch
        >>> found = target.search(b"\x07\x08\x09", ranges=[(address, closed)], limit=2)
        >>> [each.address - address for each in found if isinstance(each, SearchMatch)]
        [7, 258]
        """
        from farpeek_api.client import searches

        options = {
            "mappings": mappings,
            "mode": mode,
            "limit": limit,
            "context": context,
            "timeout_s": timeout_s,
            "generation": generation,
        }
        return searches.search(self.info.id, searches.body(pattern, ranges, within, options))

    @flow
    def pieces(
        self, ranges: Sequence[Range], *, mode: Mode | None = None, generation: int | None = None
    ) -> Flow[Piece]:
        """Go through ``(from, to)`` ranges of any length, piece by piece.

        Memory that nobody has touched is one piece of zeros, whatever its size, and what cannot be
        read is a gap; bytes come in parts, as they arrive. Interrupted where the answer is cut off:
        what came before it is right, and all has come where nothing is raised.

        >>> ranges = [(closed - 8192, closed + 4096)]
        >>> sum(piece.length for piece in target.pieces(ranges) if piece.kind == "data")
        8192
        """
        from farpeek_api.client import ranges as long_ranges

        return long_ranges.pieces(self.info.id, ranges, {"mode": mode, "generation": generation})

    @flow
    def bulk(
        self, start: int, end: int, *, mode: Mode | None = None, zero_gaps: bool = False
    ) -> Flow[bytes]:
        """Read the bytes of a range of any length, part by part, as they arrive.

        RangeUnreadable at the first byte that cannot be read. With ``zero_gaps``, places that have
        no bytes are zeros.

        >>> sum(map(len, target.bulk(address, address + 100_000)))
        100000
        """
        from farpeek_api.client import ranges as long_ranges

        query = {"mode": mode, "gaps": "zero" if zero_gaps else None}
        return long_ranges.bulk(self.info.id, start, end, query)

    @operation
    def dump(
        self,
        path: str | os.PathLike[str],
        ranges: Sequence[Range],
        *,
        mode: Mode | None = None,
        generation: int | None = None,
        progress: Callable[[int, int], object] | None = None,
        patience_s: float = PATIENCE_S,
    ) -> Call[Dump]:
        r"""Write ``(from, to)`` ranges to a file, whose offset 0 is the first one's start.

        The file is sparse, made anew and its owner's alone: untouched memory and gaps are holes of
        it. ``progress`` is called with the bytes that are done and those of all. Where the service
        goes away in the middle, or is started again, the dump goes on; after ``patience_s`` seconds
        without a byte it gives up and raises what stood against it last. It is whole only where
        nothing is raised: the service says at its end what it has sent, and that is compared.
        ValueError if the first range is not the lowest; OSError for the file.

        >>> import tempfile, pathlib
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     out = pathlib.Path(folder, "memory")
        ...     dump = target.dump(out, [(address, closed + 4096)])
        ...     dump.complete, dump.sums.gaps, out.read_bytes()[:3]
        (False, 4096, b'\x00\x01\x02')
        """
        from farpeek_api.client import ranges as long_ranges

        options = {"mode": mode, "generation": generation}
        return long_ranges.dump(self.info.id, path, ranges, options, progress, patience_s)

    @operation
    def core(
        self,
        path: str | os.PathLike[str],
        *,
        mode: Mode | None = None,
        filter: int | None = None,  # noqa: A002 - what the service and the kernel call it
        consistent: int | None = None,
        generation: int | None = None,
        progress: Callable[[int, int], object] | None = None,
    ) -> Call[Core]:
        r"""Save an ELF core, which debuggers open, of the process as it goes on.

        Nothing is stopped. By default nothing is brought into memory either (``mode="nowait"``);
        ``filter`` chooses mappings by the bits of coredump_filter, core(5). The file is sparse, its
        owner's alone, and there only once it is whole. Registers are known of threads that wait.
        Stacks are read again until two readings are equal, ``consistent`` times at most.

        >>> import tempfile, pathlib
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     out = pathlib.Path(folder, "core")
        ...     core = target.core(out)
        ...     out.read_bytes()[:4], core.size == out.stat().st_size
        (b'\x7fELF', True)
        """
        from farpeek_api.client import cores

        options = {
            "mode": mode,
            "filter": filter,
            "consistent": consistent,
            "generation": generation,
        }
        return cores.core(self.info.id, path, options, progress)
