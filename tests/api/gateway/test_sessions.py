"""The protocol itself, on a real target: what is asked byte for byte, and what comes back."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farpeek_api.client import Client
from farpeek_api.gateway import packets, session
from farpeek_api.gateway.files import MOST_OPEN
from farpeek_api.gateway.inferior import Inferior
from farpeek_api.gateway.packets import Packet, PacketParser, TooLong
from farpeek_api.gateway.queries import Queries
from support.targets import start, state_of
from support.waiting import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.sample import Sample

PAGE: Final = 4096


@pytest.fixture(scope="module")
def peek(served: object) -> Iterator[Client]:
    with Client(f"unix:{served.path}") as made:  # type: ignore[attr-defined]
        yield made


@pytest.fixture
def queries(peek: Client, sample: Sample) -> Queries:
    return _queries(peek, sample.pid)


def _queries(peek: Client, pid: int) -> Queries:
    made = Queries(Inferior(peek.target(pid), None, writable=False))
    made.answer(b"qSupported:multiprocess+")
    made.answer(b"?")
    return made


def _one(queries: Queries, request: bytes) -> bytes:
    [answer] = queries.answer(request)
    return answer


@contextmanager
def _connected(peek: Client, pid: int) -> Iterator[socket.socket]:
    here, there = socket.socketpair()
    here.settimeout(PATIENCE_S)
    inferior = Inferior(peek.target(pid), None, writable=False)
    problems: list[BaseException] = []

    def serve() -> None:
        with there:
            try:
                session.serve(there, inferior)
            except TooLong as error:
                problems.append(error)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with here:
            yield here
    finally:
        thread.join()


def test_packets_are_acknowledged_until_that_is_given_up(peek: Client, sample: Sample) -> None:
    with _connected(peek, sample.pid) as here:
        here.sendall(packets.packet(b"qAttached"))
        assert _received(here, 6) == b"+" + packets.packet(b"1")
        here.sendall(b"-")
        assert _received(here, 5) == packets.packet(b"1")
        here.sendall(b"$qAttached#00")
        assert _received(here, 1) == b"-"
        here.sendall(packets.packet(b"QStartNoAckMode"))
        assert _received(here, 7) == b"+" + packets.packet(b"OK")
        here.sendall(b"\x03-$qAttached#00" + packets.packet(b"vMustReplyEmpty"))
        assert _received(here, 4) == packets.packet(b"")
        here.sendall(packets.packet(b"D"))
        assert _received(here, 6) == packets.packet(b"OK")
        assert here.recv(1) == b""


def _received(here: socket.socket, length: int) -> bytes:
    received = b""
    while len(received) < length and (part := here.recv(length - len(received))):
        received += part
    return received


def test_a_packet_without_an_end_ends_the_connection(peek: Client, sample: Sample) -> None:
    with _connected(peek, sample.pid) as here:
        here.sendall(b"$" + b"m" * packets.MOST)
        here.sendall(b"m" * 100)
        assert here.recv(1) == b""


@pytest.mark.parametrize("request_", [b"k", b"vKill;1"])
def test_nothing_kills(peek: Client, request_: bytes) -> None:
    with start("plain") as process:
        queries = _queries(peek, process.pid)
        for answer in queries.answer(request_):
            assert answer.startswith(b"E")
        assert state_of(process.pid) == "S"
        assert process.finish() == 0


def test_memory_is_read_up_to_a_gap_and_at_it_is_an_error(queries: Queries, sample: Sample) -> None:
    end = sample.address + sample.size
    assert bytes.fromhex(_one(queries, b"m%x,8" % (end - 3)).decode()) == sample.bytes(
        sample.size - 3, 3
    )
    assert _one(queries, b"m%x,8" % end).startswith(b"E")
    for request in (b"m%x,8" % (2**64 - 4), b"m-1,4", b"m", b"m1", b"m1,2,3", b"mx,1"):
        assert _one(queries, request).startswith(b"E")
    whole = _one(queries, b"m%x,ffffffff" % sample.address)
    assert bytes.fromhex(whole.decode()) == sample.bytes(0, packets.SAFE)


def test_memory_comes_as_bytes_and_marked_where_that_is_wanted(
    queries: Queries, sample: Sample
) -> None:
    request = b"x%x,%x" % (sample.address, PAGE)
    assert packets.unescape(_one(queries, request)) == sample.bytes(0, PAGE)
    queries.answer(b"qSupported:binary-upload+")
    assert packets.unescape(_one(queries, request)) == b"b" + sample.bytes(0, PAGE)
    many = b"MultiMemRead:ranges:%x,4,%x,4,%x,2;" % (sample.address, 8, sample.address + 9)
    lengths, _, data = _one(queries, many).partition(b";")
    assert lengths == b"4,0,2"
    assert packets.unescape(data) == sample.bytes(0, 4) + sample.bytes(9, 2)
    assert _one(queries, b"MultiMemRead:ranges:0,ffffffff;").startswith(b"E")


def test_without_write_nothing_is_written(queries: Queries, sample: Sample) -> None:
    place = b"%x,2:" % sample.address
    for request in (b"M" + place + b"4142", b"X" + place + b"AB", b"G00", b"P0=00"):
        assert _one(queries, request) == b"E01"


def test_threads_are_chosen_and_those_of_others_are_not(queries: Queries, sample: Sample) -> None:
    pid = sample.pid
    assert _one(queries, b"qC") == b"QCp%x.%x" % (pid, pid)
    assert _one(queries, b"Hgp%x.%x" % (pid, pid)) == b"OK"
    assert _one(queries, b"Hg-1") == _one(queries, b"Hc0") == b"OK"
    for request in (b"Hgp%x.%x" % (pid + 1, pid), b"Hg1", b"T1", b"Tp%x.%x" % (pid + 1, pid)):
        assert _one(queries, request) == b"E01"
    assert _one(queries, b"T%x" % pid) == b"OK"
    assert _one(queries, b"qfThreadInfo") == b"mp%x.%x" % (pid, pid)
    assert _one(queries, b"qsThreadInfo") == b"l"


def test_a_hole_has_its_length_and_a_mapping_its_rights(queries: Queries, sample: Sample) -> None:
    hole = _one(queries, b"qMemoryRegionInfo:0")
    assert hole.startswith(b"start:0;size:")
    assert b"permissions" not in hole
    assert b"permissions:rw;" in _one(queries, b"qMemoryRegionInfo:%x" % sample.address)
    last = _one(queries, b"qMemoryRegionInfo:%x" % (2**64 - 16))
    assert last == b"start:%x;size:10;" % (2**64 - 16)


def test_a_document_comes_in_parts(queries: Queries) -> None:
    whole = b""
    while True:
        answer = _one(queries, b"qXfer:features:read:target.xml:%x,40" % len(whole))
        whole += packets.unescape(answer[1:])
        if answer[:1] == b"l":
            break
        assert answer[:1] == b"m"
    assert whole.endswith(b"</target>")
    assert _one(queries, b"qXfer:features:read:other.xml:0,40") == b"E00"
    assert _one(queries, b"qXfer:memory-map:read::0,40") == b""
    assert _one(queries, b"qXfer:auxv:read::ffffffffff,40") == b"l"
    assert _one(queries, b"qXfer:auxv:read::").startswith(b"E")


def test_files_are_the_targets_and_for_reading_alone(queries: Queries, sample: Sample) -> None:
    program = packets.unescape(_one(queries, b"qXfer:exec-file:read:%x:0,1000" % sample.pid))[1:]
    named = program.hex().encode()
    assert _one(queries, b"vFile:open:%b,0,0" % named) == b"F0"
    size, _, content = _one(queries, b"vFile:pread:0,10,1").partition(b";")
    assert (size, packets.unescape(content)[:3]) == (b"F10", b"ELF")
    assert _one(queries, b"vFile:pread:0,10,ffffffffff").startswith(b"F0;")
    assert _one(queries, b"vFile:fstat:0").startswith(b"F40;")
    assert _one(queries, b"vFile:close:0") == b"F0"
    assert _one(queries, b"vFile:close:0") == b"F-1,9"
    for flags in (b"1", b"2", b"200", b"400"):
        assert _one(queries, b"vFile:open:%b,%b,0" % (named, flags)) == b"F-1,1e"
    for name in (b"/etc/passwd", b"/proc/1/maps", b"/proc/%d/environ" % sample.pid, b""):
        assert _one(queries, b"vFile:open:%b,0,0" % name.hex().encode()) == b"F-1,2"
    assert _one(queries, b"vFile:open:zz,0,0") == b"F-1,16"
    assert _one(queries, b"vFile:open:") == b"F-1,16"
    assert _one(queries, b"vFile:unlink:" + named) == b"F-1,1e"
    assert _one(queries, b"vFile:symlink:" + named) == b""
    maps = b"/proc/%d/task/%d/maps" % (sample.pid, sample.pid)
    opened = b"vFile:open:%b,0,0" % maps.hex().encode()
    answers = {_one(queries, opened) for _ in range(40)}
    assert len(answers) == 40
    assert MOST_OPEN > 40


def test_no_more_files_are_open_than_there_may_be(
    queries: Queries, sample: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("farpeek_api.gateway.files.MOST_OPEN", 2)
    opened = (
        b"vFile:open:%b,0,0" % b"/proc/%d/maps".replace(b"%d", b"%d" % sample.pid).hex().encode()
    )
    assert [_one(queries, opened) for _ in range(3)] == [b"F0", b"F1", b"F-1,18"]


def test_memory_is_searched(queries: Queries, sample: Sample) -> None:
    wanted = sample.bytes(5000, 16)
    request = b"qSearch:memory:%x;%x;%b" % (sample.address, PAGE * 2, packets.escape(wanted))
    first = sample.bytes(0, 2 * PAGE).find(wanted)
    assert _one(queries, request) == b"1,%x" % (sample.address + first)
    request = b"qSearch:memory:%x;%x;%b" % (sample.address, PAGE, b"nowhere in it")
    assert _one(queries, request) == b"0"
    beyond = b"qSearch:memory:%x;%x;%b" % (
        sample.address + sample.size - PAGE,
        2 * PAGE,
        b"\0" * 99,
    )
    assert _one(queries, beyond).startswith(b"E")


def test_lldb_is_told_registers_and_what_is_unknown_is_an_error(
    queries: Queries, sample: Sample
) -> None:
    assert _one(queries, b"QThreadSuffixSupported") == b"OK"
    assert _one(queries, b"QListThreadsInStopReply") == b"OK"
    told = _one(queries, b"qThreadStopInfo%x" % sample.pid)
    assert told.startswith(b"T00thread:p%x.%x;" % (sample.pid, sample.pid))
    assert b";threads:%x;" % sample.pid in told
    assert _one(queries, b"qThreadStopInfo1") == b"E16"
    suffix = b";thread:%x;" % sample.pid
    assert _one(queries, b"p0" + suffix) == b"x" * 16  # whether there is such a request
    assert _one(queries, b"p0" + suffix) == b"E15"
    assert _one(queries, b"p7" + suffix) == _one(queries, b"g" + suffix)[7 * 16 : 8 * 16]
    assert _one(queries, b"pffff" + suffix) == b"E01"
    assert queries.answer(b"c")[-1].endswith(b"reason:trace;")
    assert b"ptrsize:8" in _one(queries, b"qHostInfo")
    assert b"pid:%x;" % sample.pid in _one(queries, b"qProcessInfo")


BEGINNINGS: Final = (
    *(b"", b"H", b"T", b"g", b"p", b"m", b"x", b"M", b"X", b"Z0,", b"z", b"vFile:open:", b"D;"),
    *(b"vFile:pread:", b"qXfer:", b"qXfer:auxv:read:", b"qSearch:memory:", b"qSupported:"),
    *(b"qMemoryRegionInfo:", b"qThreadStopInfo", b"MultiMemRead:ranges:", b"qThreadExtraInfo,"),
)


@given(
    st.sampled_from(BEGINNINGS),
    st.binary(max_size=40) | st.text("0123456789abcdef,;:-p.", max_size=40).map(str.encode),
)
def test_whatever_is_asked_is_answered(
    peek: Client, sample: Sample, beginning: bytes, rest: bytes
) -> None:
    queries = Queries(Inferior(peek.target(sample.pid), None, writable=False))
    queries.answer(b"?")
    for answer in queries.answer(beginning + rest):
        sent = packets.packet(answer)
        [item] = PacketParser().feed(sent)
        assert item == Packet(answer)
