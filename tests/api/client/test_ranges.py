"""Long ranges by the client: pieces, dumps and plain bytes, also where they are cut off."""

from __future__ import annotations

import json
import mmap
import os
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from farpeek_api.client import (
    BadAnswer,
    Interrupted,
    RangeUnreadable,
    TargetExited,
    Unreachable,
)
from support import targets
from support.odd_server import OddServer, answer
from support.sample import Sample
from support.wire import Served

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from farpeek_api.client import Client, Piece, Target

MIB = 1 << 20
PAGE = mmap.PAGESIZE


def _laid_out(pieces: list[Piece]) -> bytes:
    return b"".join(piece.data or bytes(piece.length) for piece in pieces)


def test_pieces_say_what_a_range_is_made_of(seen: Target, sample: Sample) -> None:
    end = sample.address + sample.size
    pieces = list(seen.pieces([(end - 10, end + 5), (sample.address, sample.address + 7)]))
    assert [piece.kind for piece in pieces] == ["data", "gap", "data"]
    assert [piece.address for piece in pieces] == [end - 10, end, sample.address]
    assert pieces[1].reason == "no_access"
    assert pieces[0].data == sample.bytes(sample.size - 10, 10)
    assert _laid_out(pieces[2:]) == sample.bytes(0, 7)


def test_pieces_of_nothing_are_none(seen: Target, sample: Sample) -> None:
    assert list(seen.pieces([])) == []
    assert list(seen.pieces([(sample.address, sample.address)])) == []


def test_more_ranges_than_one_request_may_have_are_asked_for_in_several(
    seen: Target, sample: Sample
) -> None:
    ranges = [(sample.address + at * 2, sample.address + at * 2 + 1) for at in range(5000)]
    expected = b"".join(sample.bytes(at * 2, 1) for at in range(5000))
    assert _laid_out(list(seen.pieces(ranges))) == expected


@pytest.mark.parametrize("ranges", [[(2, 1)], [(-1, 1)], [(0, (1 << 64) + 1)]])
def test_what_is_no_range_is_not_sent(seen: Target, ranges: list[tuple[int, int]]) -> None:
    with pytest.raises(ValueError, match="no range"):
        list(seen.pieces(ranges))


def test_a_flow_that_is_left_early_leaves_the_client_as_it_was(
    seen: Target, sample: Sample
) -> None:
    for _ in range(3):
        pieces = seen.pieces([(sample.address, sample.address + sample.size)])
        assert next(pieces).kind == "data"
        pieces.close()
    assert seen.read(sample.address, 3) == sample.bytes(0, 3)


def test_plain_bytes_come_up_to_the_first_that_cannot_be_read(seen: Target, sample: Sample) -> None:
    end = sample.address + sample.size
    assert b"".join(seen.bulk(end - 3 * MIB, end)) == sample.bytes(sample.size - 3 * MIB, 3 * MIB)
    came: list[bytes] = []
    with pytest.raises(RangeUnreadable) as caught:
        came.extend(seen.bulk(end - 10, end + 1))
    assert b"".join(came) == sample.bytes(sample.size - 10, 10)
    assert caught.value.members["gap"] is not None
    zeroed = b"".join(seen.bulk(end - 10, end + 5, zero_gaps=True))
    assert zeroed == sample.bytes(sample.size - 10, 10) + bytes(5)


def test_a_dump_is_sparse_and_has_what_was_there(
    seen: Target, sample: Sample, tmp_path: Path
) -> None:
    end = sample.address + sample.size
    out = tmp_path / "out"
    told: list[tuple[int, int]] = []
    ranges = [(end - MIB, end + PAGE), (end + 1024 * MIB, end + 1025 * MIB)]
    dump = seen.dump(out, ranges, progress=lambda done, total: told.append((done, total)))
    assert out.stat().st_size == ranges[1][1] - ranges[0][0]
    assert out.stat().st_blocks * 512 < 2 * MIB
    assert out.stat().st_mode & 0o777 == 0o600
    with out.open("rb") as file:
        assert file.read(MIB) == sample.bytes(sample.size - MIB, MIB)
        assert file.read(PAGE) == bytes(PAGE)
    assert dump.sums.data == MIB
    assert not dump.complete
    assert dump.gap_pieces[0].address == end
    total = MIB + PAGE + MIB
    assert told[-1] == (total, total)
    assert told == sorted(told)


def test_untouched_memory_takes_no_room_in_a_dump(peek: Client, tmp_path: Path) -> None:
    with targets.start("untouched", 1) as process:
        seen = peek.target(process.pid)
        (mapping,) = seen.maps(address=process["sparse"])
        out = tmp_path / "out"
        dump = seen.dump(out, [(mapping.start, mapping.end)])
        assert out.stat().st_size == mapping.length
        assert dump.sums.data + dump.sums.zeros + dump.sums.gaps == mapping.length
        assert out.stat().st_blocks * 512 <= dump.sums.data + PAGE


def test_a_dump_of_nothing_is_an_empty_file(seen: Target, tmp_path: Path) -> None:
    assert seen.dump(tmp_path / "out", []).complete
    assert (tmp_path / "out").read_bytes() == b""


def test_a_dump_begins_at_its_lowest_address(seen: Target, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="lowest"):
        seen.dump(tmp_path / "out", [(PAGE, 2 * PAGE), (0, 1)])


# httpcore2 leaves a socket that could not connect to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_dump_goes_on_with_a_service_that_was_started_again_in_its_middle(
    connect: Callable[..., Client], folder: Path, tmp_path: Path
) -> None:
    services = [Served(folder)]
    with Sample(64 * MIB) as process:
        try:

            def restart(done: int, total: int) -> None:
                assert 0 < done <= total
                if len(services) == 1:
                    services[0].end()
                    services.append(Served(folder))

            seen = connect(f"unix:{services[0].path}").target(process.pid)
            ranges = [(process.address, process.address + process.size)]
            out = tmp_path / "out"
            dump = seen.dump(out, ranges, progress=restart)
            assert len(services) == 2
            assert dump.resumed == 1
            assert dump.complete
            assert out.read_bytes() == process.bytes(0, process.size)
        finally:
            for service in services:
                service.end()


# httpcore2 leaves a socket that could not connect to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_dump_gives_up_when_nobody_comes_back(
    connect: Callable[..., Client], folder: Path, tmp_path: Path
) -> None:
    with Sample(64 * MIB) as process, Served(folder) as service:
        seen = connect(f"unix:{service.path}").target(process.pid)
        ranges = [(process.address, process.address + process.size)]
        with pytest.raises((Unreachable, Interrupted)):
            seen.dump(
                tmp_path / "out", ranges, progress=lambda _done, _all: service.end(), patience_s=0.2
            )


def test_a_dump_ends_with_its_target(peek: Client, tmp_path: Path) -> None:
    with Sample(64 * MIB) as process:
        seen = peek.target(process.pid)
        ended: list[int] = []

        def end(done: int, _total: int) -> None:
            if not ended:
                # An end by itself would unmap the memory first.
                os.kill(process.pid, signal.SIGKILL)
                os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
                ended.append(done)

        ranges = [(process.address, process.address + process.size)]
        with pytest.raises(TargetExited):
            seen.dump(tmp_path / "out", ranges, progress=end)


def _piece(**shown: object) -> bytes:
    text = json.dumps(shown).encode()
    return len(text).to_bytes(4, "big") + text


DATA = _piece(address="0x1000", length=4, kind="data") + b"abcd"
DONE = _piece(done=True, data=4, zeros=0, gaps=0, generation=1)


@pytest.mark.parametrize("cut", [b"", DATA, DATA[:-1], DATA + DONE[:-1]])
def test_pieces_that_are_cut_off_are_never_taken_for_whole(
    connect: Callable[..., Client], folder: Path, target_json: bytes, cut: bytes
) -> None:
    answers = (answer(200, target_json), answer(200, cut), answer(200, DATA + DONE))
    with OddServer(folder / "s", *answers) as server:
        seen = connect(f"unix:{server.path}").target(4242)
        with pytest.raises(Interrupted):
            list(seen.pieces([(0x1000, 0x1004)]))
        assert _laid_out(list(seen.pieces([(0x1000, 0x1004)]))) == b"abcd"


@pytest.mark.parametrize(
    "odd",
    [
        DONE,
        _piece(address="0x1001", length=3, kind="zeros"),
        _piece(address="0x1000", length=5, kind="zeros"),
        _piece(address="0x1000", length=0, kind="zeros"),
        _piece(address="0x1000", length=4, kind="new"),
        _piece(address="0x1000", kind="data"),
        DATA + _piece(done=True, data=5, zeros=0, gaps=0, generation=1),
        DATA + DATA,
        DATA + DONE + b"x",
        b"\xff\xff\xff\xff",
    ],
)
def test_pieces_of_something_else_are_not_believed(
    connect: Callable[..., Client], folder: Path, target_json: bytes, odd: bytes
) -> None:
    with OddServer(folder / "s", answer(200, target_json), answer(200, odd)) as server:
        seen = connect(f"unix:{server.path}").target(4242)
        with pytest.raises(BadAnswer):
            list(seen.pieces([(0x1000, 0x1004)]))


@pytest.mark.skipif(os.geteuid() != 0, reason="root alone makes mounts")
def test_a_dump_onto_a_disk_that_is_full_says_so(
    seen: Target, sample: Sample, tmp_path: Path
) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4M", "none", tmp_path], check=True)
    try:
        ranges = [(sample.address, sample.address + sample.size)]
        with pytest.raises(OSError, match="No space left"):
            seen.dump(tmp_path / "out", ranges)
    finally:
        subprocess.run(["umount", tmp_path], check=True)
    assert seen.read(sample.address, 3) == sample.bytes(0, 3)
