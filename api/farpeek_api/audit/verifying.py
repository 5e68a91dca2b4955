"""Whether the lines of files are a whole chain; where they are not, which line says so."""

from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO, Final, NamedTuple, cast

from farpeek_api.audit import chain
from farpeek_api.audit.chain import Line, Link

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_LONGEST_LINE: Final = 1 << 20


class Place(NamedTuple):
    """A line of a file, from 1, and what there is to say of it."""

    file: str
    line: int
    text: str


@dataclass
class Report:
    """What was found."""

    files: list[str] = field(default_factory=list[str])  # in the order of the chain
    lines: int = 0
    first: int | None = None  # the number that the chain begins with
    last: Link | None = None
    breaks: list[Place] = field(default_factory=list[Place])
    notes: list[Place] = field(default_factory=list[Place])


class _Raw(NamedTuple):
    """A line as it stands in its file, without its newline."""

    file: str
    number: int
    text: bytes
    ends: bool  # with a newline


class _Ends(NamedTuple):
    """What ties a file to others."""

    path: Path
    time: str  # of its first line
    prev: str  # the same
    hash: str  # of its last


def verify(paths: Sequence[Path], last: str | None = None) -> Report:
    """Look at all lines of files that may be in any order; raises OSError, EOFError.

    ``last`` is the hash of a line that has to be among them: one that was the last at some time.
    """
    ordered = _in_order(paths)
    check = _Check()
    has_last = False
    for path in ordered:
        check.report.files.append(str(path))
        for raw in _lines(path):
            check.take(raw)
            has_last = has_last or (last is not None and chain.digest(raw.text) == last)
    report = check.end()
    if last is not None and not has_last:
        file = report.files[-1] if report.files else ""
        text = "no line has the hash that was kept: the end was cut off, or all of it rewritten"
        report.breaks.append(Place(file, report.lines, text))
    return report


class _Check:
    """Goes through the lines."""

    def __init__(self) -> None:
        self.report = Report()
        self._raw: _Raw | None = None  # the last line that is one
        self._line: Line | None = None  # the same, understood
        self._odd: _Raw | None = None  # what stands behind it, and is none

    def take(self, raw: _Raw) -> None:
        """Go on with a line."""
        self.report.lines += 1
        line = chain.parse(raw.text) if raw.ends else None
        if line is None:
            self._explain_odd()
            self._odd = raw
            return
        behind = self._behind(raw, line)
        if self.report.first is None:
            self._begin(raw, line, behind)
        else:
            self._compare(raw, line, behind)
        self._tell_of_events(raw, line)
        self._raw, self._line, self._odd = raw, line, None

    def end(self) -> Report:
        """All lines were taken."""
        self._explain_odd()
        if self._raw is not None and self._line is not None:
            self.report.last = Link(self._line.seq, chain.digest(self._raw.text))
        return self.report

    def _behind(self, raw: _Raw, line: Line) -> str | None:
        """Give the hash that a line has to go on from; None for the first of all."""
        before = None if self._raw is None else chain.digest(self._raw.text)
        odd = self._odd
        if odd is None:
            return before
        goes_on_from = line.members.get("goes_on_from") if line.event == chain.START else None
        is_cut = goes_on_from is None or (
            isinstance(goes_on_from, dict) and cast("dict[str, object]", goes_on_from).get("cut")
        )
        if is_cut and line.event == chain.START and line.prev == chain.digest(odd.text):
            self._note(odd, "cut off where the service ended; the start behind it says so")
            return line.prev
        if not odd.ends and odd.file != raw.file and raw.text.startswith(odd.text):
            self._note(odd, "cut off where the file was moved; the next file has it whole")
            return before
        self._explain_odd()
        return line.prev if line.prev == chain.digest(odd.text) else before

    def _begin(self, raw: _Raw, line: Line, behind: str | None) -> None:
        self.report.first = line.seq
        if line.seq > 1:
            self._note(raw, f"the chain begins with {line.seq}: these files have nothing before")
        elif line.prev != (behind or chain.NOTHING):
            self._break(raw, "the first line of all goes on from something")

    def _compare(self, raw: _Raw, line: Line, behind: str | None) -> None:
        """Hold a line against the one before."""
        assert self._raw is not None and self._line is not None  # noqa: S101, PT018 - there was a first
        wanted = self._line.seq + 1
        if line.prev == behind:
            if line.seq != wanted:
                self._break(raw, f"its number is {line.seq}, and {wanted} is next")
        elif line.prev == chain.NOTHING and line.seq == 1:
            self._break(raw, "another chain begins here: nothing ties it to what is before")
        elif line.seq == wanted:
            where = f"{raw.file}:{raw.number}"
            self._break(self._raw, f"changed: {where}, which is next, was written behind another")
        elif line.seq > wanted:
            self._break(raw, f"{line.seq - wanted} lines are missing before this one")
        else:
            self._break(raw, f"inserted, or in the wrong place: {line.seq} behind {wanted - 1}")

    def _tell_of_events(self, raw: _Raw, line: Line) -> None:
        if line.event == chain.START and self._line is not None and self._line.event != chain.STOP:
            self._note(
                raw, "a start without a stop before: what was done last may have left no line"
            )
        elif line.event in (chain.DROPPED, chain.REFUSED):
            what = "lines were dropped" if line.event == chain.DROPPED else "requests were refused"
            self._note(raw, f"{line.members.get('count')} {what} for want of room")

    def _explain_odd(self) -> None:
        if self._odd is not None:
            self._break(self._odd, "no line of an audit" if self._odd.ends else "cut off")
            self._odd = None

    def _break(self, raw: _Raw, text: str) -> None:
        self.report.breaks.append(Place(raw.file, raw.number, text))

    def _note(self, raw: _Raw, text: str) -> None:
        self.report.notes.append(Place(raw.file, raw.number, text))


def _lines(path: Path) -> Iterator[_Raw]:
    with _open(path) as file:
        number = 0
        while text := _next(file):
            number += 1
            yield _Raw(str(path), number, text.removesuffix(b"\n"), text.endswith(b"\n"))


def _next(file: BinaryIO) -> bytes:
    try:
        return file.readline(_LONGEST_LINE + 1)
    except zlib.error as error:  # gzip tells of a broken head or end alone
        raise gzip.BadGzipFile(str(error)) from error


def _open(path: Path) -> BinaryIO:
    if path.suffix == ".gz":
        return cast("BinaryIO", gzip.open(path, "rb"))
    return path.open("rb")


def _in_order(paths: Sequence[Path]) -> list[Path]:
    """Put files behind those that they go on from; what nothing ties together, by its time."""
    if len(paths) == 1:
        return [*paths]
    ends = sorted(map(_ends, dict.fromkeys(paths)), key=lambda each: each.time)
    hashes = {each.hash for each in ends}
    left = {each.prev: each for each in reversed(ends)}  # of two, the first
    ordered: list[Path] = []
    for first in (
        *(each for each in ends if each.prev not in hashes),
        *(each for each in ends if each.prev in hashes),
    ):
        at: _Ends | None = first
        while at is not None and at.path not in ordered:
            ordered.append(at.path)
            at = left.get(at.hash)
    return ordered


def _ends(path: Path) -> _Ends:
    first: Line | None = None
    text = b""
    for raw in _lines(path):
        text = raw.text if raw.ends else text
        first = first or chain.parse(raw.text)
    at, prev = ("", "") if first is None else (first.time, first.prev)
    return _Ends(path, at, prev, chain.digest(text))
