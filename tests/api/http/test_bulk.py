"""Long ranges over HTTP: as curl and others ask for them, and whatever their clients do."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import mmap
import os
import re
import shutil
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farpeek_api.http.bulk import parse_range
from farpeek_api.http.refusals import BadRange
from support.pattern import pattern
from support.reading import proc_mem
from support.serving import refusing
from support.targets import Target, start
from support.waiting import until
from support.wire import Served, UnixConnection, receive_all

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

    from support.sample import Sample
    from support.wire import Reply

PAGE = mmap.PAGESIZE
MIB = 1 << 20
PAGES = 24 * MIB // PAGE


@pytest.fixture(scope="module")
def block() -> Iterator[Target]:
    """Start a target with more bytes than any socket takes; nobody changes it for long."""
    with start("bulk", PAGES) as target:
        yield target


@pytest.fixture(scope="module")
def block_id(served: Served, block: Target) -> str:
    return served.register(block.pid)


def bulk(  # noqa: PLR0913 - a request has many parts
    served: Served,
    target: str,
    first: int,
    last: int,
    *,
    query: str = "",
    method: str = "GET",
    headers: dict[str, str] | None = None,
) -> Reply:
    path = f"/v1/targets/{target}/memory{query}"
    return served.request(
        method, path, headers={"Range": f"bytes={first}-{last}", **(headers or {})}
    )


def as_bytes(target: str, first: int, last: int) -> bytes:
    return (
        f"GET /v1/targets/{target}/memory HTTP/1.1\r\nHost: localhost\r\n"
        f"Range: bytes={first}-{last}\r\nConnection: close\r\n\r\n"
    ).encode()


def test_a_range_has_the_headers_of_the_contract(
    served: Served, target: str, sample: Sample
) -> None:
    first, last = sample.address + 7, sample.address + 7 + 2 * MIB
    reply = bulk(served, target, first, last)
    assert reply.status == 206
    assert reply.body == sample.bytes(7, 2 * MIB + 1)
    assert reply.headers["content-range"] == f"bytes {first}-{last}/*"
    assert reply.headers["content-length"] == str(2 * MIB + 1)
    assert reply.headers["content-type"] == "application/octet-stream"
    assert reply.headers["cache-control"] == "no-store"
    assert "transfer-encoding" not in reply.headers
    assert "etag" not in reply.headers


@given(st.data())
def test_over_the_wire_a_range_has_the_bytes_of_the_targets_memory(
    served: Served, block: Target, block_id: str, data: st.DataObject
) -> None:
    size = PAGES * PAGE
    offset = data.draw(st.integers(0, size - 1))
    length = data.draw(st.integers(1, min(size - offset, 3 * MIB)))
    query = data.draw(st.sampled_from(["", "?mode=nowait", "?mode=wait&gaps=zero"]))
    at = block["block"] + offset
    reply = bulk(served, block_id, at, at + length - 1, query=query)
    assert reply.status == 206
    assert reply.body == proc_mem(block.pid, at, length)


@pytest.mark.parametrize(
    "text",
    [
        *("bytes=5-", "bytes=-5", "bytes=1-2,5-6", "bytes=1-2, 5-6", "items=1-2", "bytes 1-2"),
        *("bytes=0x10-0x20", "bytes=a-b", "bytes=", "bytes=-", "1-2", "bytes=1-2-3", "bytes=+1-2"),
        *("bytes=1_0-20", "bytes=\u0661-\u0662", "bytes=1 -2", ""),
    ],
)
def test_what_is_no_range_of_addresses_is_malformed_with_a_hint(
    served: Served, target: str, text: str
) -> None:
    headers = {"Range": text.encode().decode("latin-1")}
    reply = served.request("GET", f"/v1/targets/{target}/memory", headers=headers)
    assert (reply.status, reply.slug) == (400, "malformed")
    assert "bytes=FIRST-LAST" in reply.json["hint"]


def test_without_a_range_it_says_what_to_send(served: Served, target: str) -> None:
    for method in ("GET", "HEAD"):
        reply = served.request(method, f"/v1/targets/{target}/memory")
        assert reply.status == 400
    reply = served.request("GET", f"/v1/targets/{target}/memory")
    assert reply.slug == "malformed"
    assert "no `Range`" in reply.json["detail"]
    assert "bytes=FIRST-LAST" in reply.json["hint"]


def test_two_ranges_in_two_headers_are_a_list() -> None:
    with pytest.raises(BadRange):
        parse_range(["bytes=1-2", "bytes=3-4"])


@pytest.mark.parametrize("text", ["bytes=16-31", "BYTES=16-31", "bytes=0016-0000031"])
def test_units_have_no_case_and_zeros_in_front_count_for_nothing(text: str) -> None:
    assert parse_range([text]) == (16, 32)


@pytest.mark.parametrize(
    ("first", "last"),
    [
        *((5, 4), (1 << 64, (1 << 64) + 1), (0, 1 << 64), (5, 10**5000)),
    ],
    ids=["backwards", "behind the end", "over the end", "thousands of digits"],
)
def test_a_range_that_makes_no_sense_is_invalid(
    served: Served, target: str, first: int, last: int
) -> None:
    digits = "9" * 5000 if last == 10**5000 else str(last)
    headers = {"Range": f"bytes={first}-{digits}"}
    reply = served.request("GET", f"/v1/targets/{target}/memory", headers=headers)
    assert (reply.status, reply.slug, reply.places) == (422, "invalid", ["Range"])


@pytest.mark.parametrize(
    "query", ["?mode=maybe", "?gaps=one", "?gap=zero", "?gaps=zero&gaps=zero", "?timeout_s=1"]
)
def test_parameters_that_are_not_known_are_invalid(
    served: Served, target: str, sample: Sample, query: str
) -> None:
    reply = bulk(served, target, sample.address, sample.address, query=query)
    assert (reply.status, reply.slug) == (422, "invalid")


def test_other_answers_than_bytes_are_not_to_be_had(
    served: Served, target: str, sample: Sample
) -> None:
    at = sample.address
    reply = bulk(served, target, at, at, headers={"Accept": "application/json"})
    assert (reply.status, reply.slug) == (406, "not-acceptable")
    reply = bulk(served, target, at, at, headers={"Accept": "application/octet-stream"})
    assert reply.status == 206


def test_who_is_not_a_target_is_not_found(served: Served) -> None:
    reply = bulk(served, "1-1", 0, 10)
    assert (reply.status, reply.slug) == (404, "no-such-target")


def test_a_range_is_cut_to_what_can_be_read(served: Served, block: Target, block_id: str) -> None:
    end = block["block"] + PAGES * PAGE
    for length in (1, 100, 2 * MIB):
        reply = bulk(served, block_id, end - length, (1 << 64) - 1)
        assert reply.status == 206
        assert reply.headers["content-range"] == f"bytes {end - length}-{end - 1}/*"
        assert reply.headers["content-length"] == str(length)
        assert reply.body == pattern(end - length, length)


def test_where_the_first_byte_cannot_be_read_the_problem_has_the_gap(
    served: Served, block: Target, block_id: str
) -> None:
    places = {block["block"] + PAGES * PAGE + 5: "unmapped", 16: "unmapped"}
    places[block["file"] + PAGE + 5] = "beyond_file"
    first = block["block"] + 500 * PAGE
    assert block.command("close 500 10") == "ok"
    places[first + 5] = "no_access"
    if block.command("guard 700 10") == "ok":
        places[block["block"] + 700 * PAGE + 5] = "no_access"
    for place, reason in places.items():
        for method in ("GET", "HEAD"):
            reply = bulk(served, block_id, place, place + 9, method=method)
            assert reply.status == 416, reason
            assert "content-range" not in reply.headers
        reply = bulk(served, block_id, place, place + 9)
        assert reply.slug == "range-unreadable"
        assert reply.json["retryable"] is False
        assert reply.json["gap"] == {
            "region": 0,
            "offset": 0,
            "address": hex(place),
            "length": 10,
            "reason": reason,
            "retryable": False,
        }
    # Up to there it can be read; and the gap is no longer than it is.
    reply = bulk(served, block_id, first - 10, first + 100)
    assert (reply.status, reply.body) == (206, pattern(first - 10, 10))
    gap = bulk(served, block_id, first, first + 100 * PAGE).json["gap"]
    assert gap["length"] == 10 * PAGE
    for page in (500, 700):
        assert block.command(f"map {page} 10") == "ok"


def test_pages_that_are_not_resident_are_such_a_gap_too(served: Served) -> None:
    with start("uffd", 8) as target:
        target_id = served.register(target.pid)
        missing = target["missing"]
        reply = bulk(served, target_id, missing, missing + PAGE, query="?mode=nowait")
        assert (reply.status, reply.json["gap"]["reason"]) == (416, "not_resident")
        assert reply.json["retryable"] is True
        served.request("DELETE", f"/v1/targets/{target_id}")


def test_gaps_are_zeros_where_that_is_asked_for(
    served: Served, block: Target, block_id: str
) -> None:
    end = block["block"] + PAGES * PAGE
    reply = bulk(served, block_id, end - 100, end + 99, query="?gaps=zero")
    assert (reply.status, reply.body) == (206, pattern(end - 100, 100) + bytes(100))
    reply = bulk(served, block_id, 0, 3 * MIB - 1, query="?gaps=zero")
    assert (reply.status, reply.body) == (206, bytes(3 * MIB))
    last = (1 << 64) - 1
    for query in ("?gaps=zero", "?gaps=zero&mode=nowait"):
        reply = bulk(served, block_id, last - 2 * MIB, last, query=query)
        assert (reply.status, reply.body) == (206, bytes(2 * MIB + 1))


def test_zeros_without_an_end_are_cut_and_content_range_says_where(
    served: Served, target: str, sample: Sample
) -> None:
    path = f"/v1/targets/{target}/memory?gaps=zero"
    for first in (0, sample.address):
        headers = {"Range": f"bytes={first}-{(1 << 64) - 1}"}
        reply = served.request("HEAD", path, headers=headers)
        last = first + (64 << 30) - 1
        assert (reply.status, reply.headers["content-range"]) == (206, f"bytes {first}-{last}/*")


@pytest.mark.parametrize("length", [1, 100 * 1024, MIB, MIB + 1, 5 * MIB])
def test_head_has_the_headers_of_get_and_no_body(
    served: Served, target: str, sample: Sample, length: int
) -> None:
    first, last = sample.address + 3, sample.address + 3 + length - 1
    got = bulk(served, target, first, last)
    head = bulk(served, target, first, last, method="HEAD")
    assert (got.status, head.status) == (206, 206)
    assert head.body == b""
    assert len(got.body) == length
    for headers in (got.headers, head.headers):
        assert headers["content-length"] == str(length)
    own = {"date": "", "x-request-id": ""}
    assert {**got.headers, **own} == {**head.headers, **own}
    assert ("etag" in got.headers) == (length <= MIB)


@pytest.mark.parametrize("length", [1, 8 * PAGE, MIB])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_client_that_has_the_bytes_is_not_sent_them(
    served: Served, block: Target, block_id: str, length: int, method: str
) -> None:
    first, last = block["block"] + 3, block["block"] + 3 + length - 1

    def ask(tags: str) -> Reply:
        headers = {"If-None-Match": tags, "If-Range": '"x"'}
        return bulk(served, block_id, first, last, method=method, headers=headers)

    tag = bulk(served, block_id, first, last).headers["etag"]
    assert re.fullmatch(r'"[0-9a-f]{32}"', tag)
    for tags in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        reply = ask(tags)
        assert (reply.status, reply.body) == (304, b"")
        assert reply.headers["etag"] == tag
    for tags in ('"other"', tag.replace('"', "")):
        assert ask(tags).status == 206


def test_an_etag_changes_with_the_bytes(served: Served, block: Target, block_id: str) -> None:
    first = block["block"] + 900 * PAGE
    before = bulk(served, block_id, first, first + 9).headers["etag"]
    assert block.command("unmap 900 1") == "ok"
    zeros = bulk(served, block_id, first, first + 9, query="?gaps=zero")
    assert zeros.headers["etag"] not in (before, "")
    assert block.command("map 900 1") == "ok"
    assert bulk(served, block_id, first, first + 9).headers["etag"] == before


def test_if_range_is_ignored(served: Served, target: str, sample: Sample) -> None:
    at = sample.address
    reply = bulk(served, target, at, at + 9, headers={"If-Range": '"something else"'})
    assert (reply.status, len(reply.body)) == (206, 10)


def curl(served: Served, target: str, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    program = shutil.which("curl")
    if program is None:
        pytest.skip("there is no curl here")
    url = f"http://localhost/v1/targets/{target}/memory"
    command = [program, "--silent", "--max-time", "20", "--unix-socket", str(served.path)]
    return subprocess.run([*command, *arguments, url], capture_output=True, check=False)


def test_curl_gets_a_range_and_goes_on_after_a_cut(
    served: Served, block: Target, block_id: str
) -> None:
    first, last = block["block"] + 5, block["block"] + PAGES * PAGE - 1
    whole = pattern(first, last - first + 1)
    done = curl(served, block_id, "--range", f"{first}-{last}")
    assert (done.returncode, done.stdout == whole) == (0, True)
    # It leaves in the middle; a new range from there on gives the rest.
    program = shutil.which("curl")
    assert program is not None
    begun = curl(served, block_id, "--range", f"{first}-{last}", "--max-filesize", "1")
    assert begun.returncode == 63  # told by Content-Length
    with served.connect() as sock:
        sock.sendall(as_bytes(block_id, first, last))
        received = b""
        while len(received) < 3 * MIB:
            received += sock.recv(1 << 16)
    received = received.partition(b"\r\n\r\n")[2]
    rest = curl(served, block_id, "--range", f"{first + len(received)}-{last}")
    assert rest.returncode == 0
    assert received + rest.stdout == whole


def test_curl_cannot_continue_by_itself(served: Served, block: Target, block_id: str) -> None:
    # It asks for `bytes=N-`, to the end that an address space does not have.
    done = curl(served, block_id, "--continue-at", str(block["block"]), "--include")
    assert b" 400 " in done.stdout


def test_a_gap_that_is_met_later_ends_the_body_early_and_the_connection(
    served: Served, block: Target, block_id: str
) -> None:
    first = block["block"]
    assert block.command("close 3000 1") == "ok"
    assert block.command("map 3000 1") == "ok"
    if block.command("guard 3000 1") != "ok":
        pytest.skip("the kernel has no guard pages, which the map does not show")
    try:
        with served.connect() as sock:
            sock.sendall(as_bytes(block_id, first, first + PAGES * PAGE - 1))
            head, _, body = receive_all(sock).partition(b"\r\n\r\n")
        assert f"Content-Length: {PAGES * PAGE}".encode() in head
        assert body == pattern(first, 3000 * PAGE)
        done = curl(served, block_id, "--range", f"{first}-{first + PAGES * PAGE - 1}")
        assert (done.returncode, len(done.stdout)) == (18, 3000 * PAGE)
        # Whoever asks for the rest is told why.
        place = first + 3000 * PAGE
        assert bulk(served, block_id, place, place + 9).json["gap"]["reason"] == "no_access"
        query = "?gaps=zero"
        reply = bulk(served, block_id, first, first + PAGES * PAGE - 1, query=query)
        assert len(reply.body) == PAGES * PAGE
    finally:
        assert block.command("map 3000 1") == "ok"


@pytest.mark.parametrize("way", ["exits", "hangs"])
def test_a_target_that_dies_or_hangs_ends_the_body_early(served: Served, way: str) -> None:
    name, place = ("bulk", "block") if way == "exits" else ("uffd", "missing")
    with start(name, 6000) as target:
        target_id = served.register(target.pid)
        if way == "hangs":
            for page in range(1000):
                assert target.command(f"resolve {page}") == "ok"
        first, last = target[place], target[place] + 6000 * PAGE - 1
        with served.connect() as sock:
            sock.sendall(as_bytes(target_id, first, last))
            received = sock.recv(1 << 16)
            if way == "exits":
                target.kill()
            received += receive_all(sock)
        body = received.partition(b"\r\n\r\n")[2]
        assert 0 < len(body) < 6000 * PAGE
        assert body == pattern(first, len(body))
    why = {"exits": "target-exited", "hangs": "deadline"}[way]
    told = re.compile(rf"an answer to GET \S+/memory ends early, behind \d+ bytes .*: {why}: ")
    until(lambda: told.search(served.log), "the log tells why")
    assert "Traceback" not in served.log


class Client(threading.Thread):
    """Takes ``most`` bytes of an answer, and leaves."""

    def __init__(self, served: Served, request: bytes, most: int) -> None:
        super().__init__()
        self._served = served
        self._request = request
        self._most = most
        self.received = bytearray()

    def run(self) -> None:
        with self._served.connect() as sock:
            sock.sendall(self._request)
            while len(self.received) < self._most and (piece := sock.recv(1 << 16)):
                self.received += piece


def resident_kib(served: Served) -> int:
    status = Path(f"/proc/{served.process.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


def is_at_rest(served: Served) -> bool:
    threads = served.request("GET", "/v1/info").json["threads"]
    return not threads["busy"] and not threads["stuck"]


def descriptors(served: Served) -> int:
    return len(list(Path(f"/proc/{served.process.pid}/fd").iterdir()))


def test_twenty_clients_and_one_that_vanishes_at_each_point(folder: Path, block: Target) -> None:
    flags = ["--max-inflight-bytes", str(48 * MIB), "--max-request-bytes", str(48 * MIB)]
    size = 8 * MIB
    whole = pattern(block["block"], size)
    with Served(folder, *flags) as service:
        target = service.register(block.pid)
        request = as_bytes(target, block["block"], block["block"] + size - 1)
        curl(service, target, "--range", f"{block['block']}-{block['block']}")
        files = descriptors(service)
        for vanishing_at in (0, 1, 100_000, size // 2, size - 10):
            clients = [Client(service, request, size + 1000) for _ in range(19)]
            clients.append(Client(service, request, vanishing_at))
            for client in clients:
                client.start()
            most = 0
            while any(client.is_alive() for client in clients):
                clients[0].join(0.01)
                most = max(most, resident_kib(service))
            for client in clients[:-1]:
                assert client.received.partition(b"\r\n\r\n")[2] == whole
            # 20 transfers of two chunks, one more in each bulk thread, on top of some 50 MiB.
            assert most < 128 << 10
        until(lambda: is_at_rest(service), "no thread is at work")
        until(lambda: descriptors(service) <= files, "no descriptor is left")
        # All bytes of the budget are there again.
        members = {"addresses": [block["block"]] * 6, "lengths": size, "encoding": "none"}
        path = f"/v1/targets/{target}/readv"
        until(
            lambda: service.request("POST", path, members).status == 200, "the budget is free again"
        )
        assert "Traceback" not in service.log
        assert "ERROR" not in service.log


def test_slow_readers_hold_two_chunks_each_and_get_it_all(folder: Path, block: Target) -> None:
    size = PAGES * PAGE
    with Served(folder) as served, contextlib.ExitStack() as stack:
        block_id = served.register(block.pid)
        request = as_bytes(block_id, block["block"], block["block"] + size - 1)
        slow = [stack.enter_context(served.connect()) for _ in range(20)]
        taken = [bytearray() for _ in slow]
        for sock in slow:
            sock.sendall(request)
        before = resident_kib(served)
        for _ in range(size // MIB + 2):
            for number, sock in enumerate(slow):
                taken[number] += _exactly(sock, min(MIB, size + 300 - len(taken[number])))
            assert resident_kib(served) - before < 64 << 10
            # Small reads go on beside them.
            assert served.read(block_id, block["block"], 8).status == 200
    whole = pattern(block["block"], size)
    for received in taken:
        body = received.partition(b"\r\n\r\n")[2]
        assert body == whole[: len(body)]
        assert len(body) > size - 4096


def _exactly(sock: socket.socket, count: int) -> bytes:
    received = b""
    while len(received) < count and (piece := sock.recv(count - len(received))):
        received += piece
    return received


def test_a_client_that_takes_nothing_is_cut_off(folder: Path, block: Target) -> None:
    with Served(folder, "--deadline", "0.5") as service:
        target_id = service.register(block.pid)
        with service.connect() as sock:
            sock.sendall(as_bytes(target_id, block["block"], block["block"] + PAGES * PAGE - 1))
            sock.recv(1)
            until(lambda: "took nothing of its answer" in service.log, "the client is cut off")
            assert len(receive_all(sock)) < 4 * MIB
        until(lambda: is_at_rest(service), "no thread is at work")


def test_terabytes_are_begun_at_once_and_in_bounded_memory(folder: Path) -> None:
    with start("bulk", 1, 100) as target, Served(folder) as service:
        target_id = service.register(target.pid)
        first, last = target["sparse"], target["sparse"] + (100 << 30) - 1
        with service.connect() as sock:
            sock.sendall(as_bytes(target_id, first, last))
            head = sock.recv(1 << 16).partition(b"\r\n\r\n")[0]
            assert f"Content-Length: {100 << 30}".encode() in head
            before, taken, buffer = resident_kib(service), 0, bytearray(MIB)
            while taken < 2 << 30:
                taken += sock.recv_into(buffer)
                assert buffer.count(0) == MIB
            assert resident_kib(service) - before < 16 << 10
        tables = Path(f"/proc/{target.pid}/status").read_text().partition("VmPTE:")[2].split()[0]
        assert int(tables) < 1024
        until(lambda: is_at_rest(service), "the reading has stopped")


def test_a_service_that_may_not_see_page_tables_reads_all_the_same(folder: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root, to have a target of another user")
    without = ["dac_override", "dac_read_search", "net_admin"]
    with (
        start("plain", "--uid", 1000, "--gid", 1000) as target,
        Served(folder, without=without, under=refusing("move_pages")) as service,
    ):
        target_id, first = service.register(target.pid), target["marker"]
        residency = service.request("GET", f"/v1/targets/{target_id}/maps?residency=true")
        assert residency.status == 501  # it may not indeed
        page = proc_mem(target.pid, first, PAGE)
        reply = bulk(service, target_id, first, first + 2 * MIB - 1)
        assert (reply.status, reply.body) == (206, page)
        reply = bulk(service, target_id, first, first + 2 * MIB - 1, query="?gaps=zero")
        assert (reply.status, reply.body) == (206, (page or b"") + bytes(2 * MIB - PAGE))


def test_connections_serve_on_after_a_range(served: Served, target: str, sample: Sample) -> None:
    connection = UnixConnection(served.path)
    for length in (10, 3 * MIB, 10):
        headers = {"Range": f"bytes={sample.address}-{sample.address + length - 1}"}
        connection.request("GET", f"/v1/targets/{target}/memory", headers=headers)
        response = connection.getresponse()
        assert response.read() == sample.bytes(0, length)
    connection.close()


@pytest.mark.slow
def test_no_byte_is_ever_overwritten_on_its_way_in_a_thousand_transfers(
    folder: Path, block: Target
) -> None:
    size = 4 * MIB + 4321
    with Served(folder, "--listen", "http://127.0.0.1:0", "--no-auth") as service:
        target = service.register(block.pid)
        path = f"/v1/targets/{target}/memory"
        whole = pattern(block["block"], PAGES * PAGE)

        def take(number: int) -> bool:
            offset = number * 12_347 % (PAGES * PAGE - size)
            first = block["block"] + offset
            connection: http.client.HTTPConnection = UnixConnection(service.path)
            if number % 2:
                connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=60)
            connection.request("GET", path, headers={"Range": f"bytes={first}-{first + size - 1}"})
            response = connection.getresponse()
            digest, left = hashlib.sha1(usedforsecurity=False), size
            while left and (piece := response.read(min(left, 1 << (10 + number % 11)))):
                digest.update(piece)
                left -= len(piece)
            connection.close()
            expected = hashlib.sha1(whole[offset : offset + size], usedforsecurity=False)
            return digest.digest() == expected.digest()

        with ThreadPoolExecutor(16) as threads:
            assert all(threads.map(take, range(1000)))
