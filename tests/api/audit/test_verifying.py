"""What `verify` makes of lines: of those that were written, and of those that somebody changed."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from farpeek_api.audit import chain
from farpeek_api.audit.entry import Entry
from farpeek_api.audit.lines import Lines
from farpeek_api.audit.verifying import verify

if TYPE_CHECKING:
    from pathlib import Path

    from farpeek_api.audit.verifying import Report


def entry(number: int) -> Entry:
    made = Entry(f"r-{number}", (1000, 4711))
    made.client = made.by = "alice"
    made.verb = "read"
    made.names([0x1000 * number], [8])
    made.stamp("done")
    return made


def written(count: int, lines: Lines | None = None) -> list[bytes]:
    """Write the lines of a service that starts, does something, and stops."""
    lines = lines or Lines(chain.FIRST)
    before = None if lines.last == chain.FIRST else lines.last
    text = [lines.start(before, is_cut=False)]
    text += [lines.of(entry(number)) for number in range(count)]
    return [*text, lines.note(chain.STOP, {})]


WHOLE = written(12)
ODD_LINES = st.recursive(st.integers() | st.text(), st.lists).map(
    lambda odd: json.dumps({"seq": odd, "prev": "0" * 64, "time": ""}).encode() + b"\n"
)
LAST = chain.digest(WHOLE[-1][:-1])


def check(folder: Path, *texts: bytes, last: str | None = None) -> Report:
    paths = []
    for number, text in enumerate(texts):
        path = folder / f"{number}"
        path.write_bytes(text)
        paths.append(path)
    return verify(paths, last)


def said(report: Report) -> list[tuple[int, str]]:
    return [(each.line, each.text.partition(":")[0]) for each in report.breaks]


def test_what_was_written_is_whole(tmp_path: Path) -> None:
    report = check(tmp_path, b"".join(WHOLE), last=LAST)
    assert (report.breaks, report.notes) == ([], [])
    assert (report.lines, report.first) == (14, 1)
    assert report.last == (14, LAST)


def test_a_changed_line_is_named(tmp_path: Path) -> None:
    lines = [*WHOLE]
    lines[5] = lines[5].replace(b'"bytes":0', b'"bytes":1')
    (found,) = check(tmp_path, b"".join(lines)).breaks
    assert (found.file, found.line) == (str(tmp_path / "0"), 6)
    assert found.text.startswith("changed")


def test_lines_that_are_missing_are_counted(tmp_path: Path) -> None:
    report = check(tmp_path, b"".join(WHOLE[:5] + WHOLE[8:]))
    assert said(report) == [(6, "3 lines are missing before this one")]


def test_an_inserted_line_is_named_though_it_goes_on_from_the_one_before(tmp_path: Path) -> None:
    lines = Lines(chain.Link(6, chain.digest(WHOLE[5][:-1])))
    forged = lines.of(entry(99))
    report = check(tmp_path, b"".join([*WHOLE[:6], forged, *WHOLE[6:]]))
    assert said(report)[0] == (8, "inserted, or in the wrong place")


def test_a_wrong_number_is_named(tmp_path: Path) -> None:
    lines = Lines(chain.Link(8, chain.digest(WHOLE[-1][:-1])))
    report = check(tmp_path, b"".join([*WHOLE, lines.of(entry(0))]))
    assert said(report) == [(15, "its number is 9, and 15 is next")]


def test_lines_in_another_order_are_found(tmp_path: Path) -> None:
    assert check(tmp_path, b"".join([*WHOLE[:4], WHOLE[5], WHOLE[4], *WHOLE[6:]])).breaks


def test_a_line_that_is_cut_off_is_found(tmp_path: Path) -> None:
    report = check(tmp_path, b"".join(WHOLE)[:-10])
    assert said(report) == [(14, "cut off")]


def test_an_end_that_was_cut_off_shows_by_the_hash_that_was_kept(tmp_path: Path) -> None:
    short = b"".join(WHOLE[:-3])
    assert not check(tmp_path, short).breaks
    assert said(check(tmp_path, short, last=LAST))[0][1].startswith("no line has the hash")


def test_files_may_come_in_any_order(tmp_path: Path) -> None:
    parts = [b"".join(WHOLE[at : at + 4]) for at in range(0, len(WHOLE), 4)]
    numbers = [2, 0, 3, 1]
    report = check(tmp_path, *(parts[number] for number in numbers))
    assert report.breaks == []
    assert report.files == [str(tmp_path / str(numbers.index(at))) for at in range(len(parts))]


def test_a_file_that_is_missing_is_found(tmp_path: Path) -> None:
    report = check(tmp_path, b"".join(WHOLE[:4]), b"".join(WHOLE[8:]))
    assert said(report) == [(1, "4 lines are missing before this one")]


def test_files_that_begin_later_are_whole_and_say_so(tmp_path: Path) -> None:
    report = check(tmp_path, b"".join(WHOLE[4:]))
    assert report.breaks == []
    assert report.first == 5
    assert [each.line for each in report.notes] == [1]


def test_packed_files_are_read_too(tmp_path: Path) -> None:
    old, new = tmp_path / "audit.log.1.gz", tmp_path / "audit.log"
    old.write_bytes(gzip.compress(b"".join(WHOLE[:7])))
    new.write_bytes(b"".join(WHOLE[7:]))
    report = verify([new, old])
    assert (report.breaks, report.files) == ([], [str(old), str(new)])


def test_an_empty_file_is_no_break(tmp_path: Path) -> None:
    report = check(tmp_path, b"", b"".join(WHOLE))
    assert (report.breaks, report.lines) == ([], 14)


def test_a_chain_that_begins_anew_is_found(tmp_path: Path) -> None:
    report = check(tmp_path, b"".join(WHOLE + written(3)))
    assert said(report) == [(15, "another chain begins here")]


def test_a_start_behind_no_stop_is_told_and_no_break(tmp_path: Path) -> None:
    lines = Lines(chain.FIRST)
    text = written(3, lines)[:-1]
    lines = Lines(chain.Link(4, chain.digest(text[-1][:-1])))
    report = check(tmp_path, b"".join(text + written(3, lines)))
    assert report.breaks == []
    assert [each.line for each in report.notes] == [5]


@pytest.mark.parametrize("kept", [1, 60, 200])
def test_half_a_line_before_a_start_that_says_so_is_no_break(tmp_path: Path, kept: int) -> None:
    text = written(3)[:-1]
    half = text.pop()[:kept]
    lines = Lines(chain.Link(3, chain.digest(half)))
    more = [lines.start(chain.Link(3, ""), is_cut=True), lines.of(entry(7))]
    report = check(tmp_path, b"".join([*text, half, b"\n", *more]))
    assert report.breaks == []
    assert report.notes[0].line == 4
    assert "cut off" in report.notes[0].text


def test_nonsense_that_no_start_vouches_for_is_a_break(tmp_path: Path) -> None:
    report = check(tmp_path, b"".join([*WHOLE[:5], b"nonsense\n", *WHOLE[5:]]))
    assert said(report) == [(6, "no line of an audit")]


def test_lost_lines_are_told_of(tmp_path: Path) -> None:
    lines = Lines(chain.FIRST)
    text = [lines.start(None, is_cut=False), lines.note(chain.DROPPED, {"count": 7})]
    report = check(tmp_path, b"".join(text))
    assert [each.text for each in report.notes] == ["7 lines were dropped for want of room"]


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_single_change_of_a_verified_file_is_found(tmp_path: Path, data: st.DataObject) -> None:
    whole = b"".join(WHOLE)
    at = data.draw(st.integers(0, len(whole) - 1))
    kind = data.draw(st.sampled_from(["replace", "delete", "insert", "cut"]))
    if kind == "replace":
        new = data.draw(st.integers(0, 255).filter(lambda byte: byte != whole[at]))
        changed = whole[:at] + bytes([new]) + whole[at + 1 :]
    elif kind == "delete":
        size = data.draw(st.integers(1, 600))
        changed = whole[:at] + whole[at + size :]
    elif kind == "insert":
        changed = whole[:at] + data.draw(st.binary(min_size=1, max_size=600)) + whole[at:]
    else:
        changed = whole[:at]
    if changed == whole:
        return
    report = check(tmp_path, changed, last=LAST)
    # What is gone from the beginning may have been rotated away: it shows by the first number.
    assert report.breaks or report.first != 1


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(numbers=st.lists(st.integers(0, len(WHOLE) - 1), min_size=1, max_size=20))
def test_no_other_choice_of_whole_lines_is_a_chain(tmp_path: Path, numbers: list[int]) -> None:
    text = b"".join(WHOLE[number] for number in numbers)
    is_run = numbers == list(range(numbers[0], numbers[-1] + 1))
    assert (check(tmp_path, text).breaks == []) is is_run


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.binary(max_size=400) | ODD_LINES)
def test_no_file_makes_it_fail(tmp_path: Path, text: bytes) -> None:
    check(tmp_path, text, b"".join(WHOLE))


def test_an_archive_that_is_broken_inside_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "audit.gz"
    packed = bytearray(gzip.compress(b"a line\n" * 9, mtime=0))
    packed[10:16] = b"\xff" * 6
    path.write_bytes(packed)
    with pytest.raises(OSError, match="decompressing"):
        verify([path])
