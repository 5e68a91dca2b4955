"""Saves ranges of a target's memory, in a file or in a folder; what fails leaves no rubbish."""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from farpeek_api.cli.errors import CommandError
from farpeek_api.cli.show.sizes import size
from farpeek_api.client import PeekError
from farpeek_api.client.ranges import MOST_GAPS

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from farpeek_api.cli.show.terminal import Terminal
    from farpeek_api.client import Dump, Piece, Target
    from farpeek_api.client.calls import Mode

_ZEROS: Final = bytes(1 << 20)


@dataclass(slots=True)
class Saved:
    """What came: bytes of each kind, the first gaps, and how often it was taken up again."""

    data: int = 0
    zeros: int = 0
    gaps: int = 0
    gap_pieces: list[Piece] = field(default_factory=list["Piece"])
    resumed: int = 0

    def add(self, dump: Dump) -> None:
        """Take what came of one file."""
        self.data += dump.sums.data
        self.zeros += dump.sums.zeros
        self.gaps += dump.sums.gaps
        self.gap_pieces += dump.gap_pieces
        self.resumed += dump.resumed

    def take(self, piece: Piece) -> None:
        """Take a piece that came."""
        if piece.kind == "data":
            self.data += piece.length
        elif piece.kind == "zeros":
            self.zeros += piece.length
        else:
            self.gaps += piece.length
            if len(self.gap_pieces) < MOST_GAPS:
                self.gap_pieces.append(piece)


def send(
    out: Terminal,
    target: Target,
    wanted: Sequence[tuple[int, int]],
    mode: Mode | None,
    tell: Callable[[int, int], object],
) -> Saved:
    """Write ranges to the output, one behind the other: it can have no holes.

    Where there are no bytes, zeros keep the place; ``tell`` is as for `Saving`.
    """
    saved = Saved()
    total = sum(end - start for start, end in wanted)
    for piece in target.pieces(wanted, mode=mode):
        if piece.kind == "data":
            out.raw(piece.data)
        else:
            for at in range(0, piece.length, len(_ZEROS)):
                out.raw(_ZEROS[: piece.length - at])
        saved.take(piece)
        tell(saved.data + saved.zeros + saved.gaps, total)
    return saved


class Saving:
    """Saves ``ranges`` of a target: in one file, or each in a file of a folder that is there."""

    def __init__(
        self, target: Target, ranges: Sequence[tuple[int, int]], mode: Mode | None
    ) -> None:
        self._target = target
        self._ranges = ranges
        self._mode: Mode | None = mode
        self.total = sum(end - start for start, end in ranges)
        """Bytes that are to be saved."""
        self.done = 0
        """How many of them have come."""
        self._before = 0  # in the files that are whole

    def run(self, output: str, tell: Callable[[int, int], object]) -> Saved:
        """Save them; ``tell`` is told how many bytes of how many are done."""
        saved = Saved()
        files = [(output, self._ranges)]
        if os.path.isdir(output):  # noqa: PTH112 - a word, as it stands
            files = [(str(Path(output, f"{a:x}-{b:x}")), [(a, b)]) for a, b in self._ranges]
        with self._tidied([path for path, _ in files], output) as new:
            for path, ranges in files:
                saved.add(self._dump(path, ranges, tell))
                self._before = self.done
            if not saved.data and not saved.zeros:
                _remove(new)
        return saved

    def _dump(
        self, path: str, ranges: Sequence[tuple[int, int]], tell: Callable[[int, int], object]
    ) -> Dump:
        def progress(done: int, _: int) -> None:
            self.done = self._before + done
            tell(self.done, self.total)

        return self._target.dump(path, ranges, mode=self._mode, progress=progress)

    @contextmanager
    def _tidied(self, paths: Sequence[str], output: str) -> Generator[list[str], None, None]:
        """Take new files away again, but for what came of memory before it could not be read on.

        Of a target that has ended, that is all there will ever be. Gives the new files.
        """
        new = [path for path in paths if not os.path.lexists(path)]
        try:
            yield new
        except PeekError:
            if not self.done:
                _remove(new)
            raise
        except OSError as error:
            _remove(new)
            if error.errno == errno.EFBIG:
                raise CommandError(self._too_far_apart(output)) from None
            raise
        except BaseException:
            _remove(new)
            raise

    def _too_far_apart(self, output: str) -> str:
        span = self._ranges[-1][1] - self._ranges[0][0]
        return (
            f"{output}: no file can have {size(span)} there, which is how far the ranges are "
            "apart: choose some, or name a folder, for a file of each"
        )


def _remove(paths: Sequence[str]) -> None:
    for each in paths:
        Path(each).unlink(missing_ok=True)
