"""Searches, a hundred at a time: who leaves, takes nothing, or asks for all is nobody's trouble."""

from __future__ import annotations

import json
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Final

import pytest

from support.serving import UnixConnection
from support.targets import Target, start
from support.waiting import until
from support.wire import Served

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MIB: Final = 1 << 20
SEARCHES: Final = 100
NEEDLE: Final = "the needle in this haystack"
# All bytes match, with as much around each as there may be; and an automaton that grows.
GREEDY: Final = {"pattern": {"hex": "??"}, "mode": "wait", "limit": 1_000_000, "context": 1024}
COSTLY: Final = {"pattern": {"regex": "(.{0,40}[a-q]){6}z"}, "mode": "wait", "timeout_s": 3}


@pytest.fixture
def served(folder: Path) -> Iterator[Served]:
    with Served(folder, "--deadline", "2") as service:
        yield service


@pytest.fixture
def searched() -> Iterator[Target]:
    with start("searched") as target:
        yield target


def request(target: str, body: object) -> bytes:
    content = json.dumps(body).encode()
    head = (
        f"POST /v1/targets/{target}/search HTTP/1.1\r\nHost: localhost\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content


def search(served: Served, target: str, body: object) -> tuple[int, bytes]:
    connection = UnixConnection(served.path)
    try:
        headers = {"Content-Type": "application/json"}
        connection.request("POST", f"/v1/targets/{target}/search", json.dumps(body), headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def info(served: Served) -> dict[str, int]:
    found: dict[str, int] = served.request("GET", "/v1/info").json
    return found


def rests(served: Served) -> bool:
    found = served.request("GET", "/v1/info").json
    return found["held_bytes"] == 0 and found["threads"]["busy"] == 0


def test_a_hundred_searches_at_once_are_answered_or_refused_and_leave_nothing(
    served: Served, searched: Target
) -> None:
    searched.command(f"put 0x100 {NEEDLE}")
    target = served.register(searched.pid)
    body = {"pattern": {"text": NEEDLE}, "limit": 10}
    with ThreadPoolExecutor(SEARCHES) as pool:
        answers = list(pool.map(lambda _: search(served, target, body), range(SEARCHES)))
    statuses = {status for status, _ in answers}
    assert statuses <= {200, 429}
    assert 200 in statuses
    for status, content in answers:
        if status == 200:
            *_, last = content.splitlines()
            done = json.loads(last)["done"]
            assert (done["matches"] >= 1, done["stopped"]) == (True, None)
    until(lambda: rests(served), "all is given back")


def test_who_takes_nothing_of_its_answer_holds_up_nobody_and_is_cut_off(
    served: Served, searched: Target
) -> None:
    searched.command(f"put 0x100 {NEEDLE}")
    target = served.register(searched.pid)
    with ExitStack() as stack:
        for _ in range(8):
            greedy = stack.enter_context(served.connect())
            greedy.sendall(request(target, GREEDY))
        until(lambda: info(served)["held_bytes"] > 0, "they search")
        ranges = [[hex(searched["area"]), hex(searched["area"] + MIB)]]
        body = {"pattern": {"text": NEEDLE}, "ranges": ranges}

        def is_found() -> bool:
            status, content = search(served, target, body)
            return status == 200 and json.loads(content.splitlines()[-1])["done"]["matches"] == 1

        until(is_found, "another one is answered beside them")
        until(lambda: rests(served), "they are cut off")


def test_searches_that_are_left_in_the_middle_leave_nothing(
    served: Served, searched: Target
) -> None:
    target = served.register(searched.pid)
    for body in (GREEDY, COSTLY) * 20:
        with served.connect() as sock:
            sock.sendall(request(target, body))
            sock.settimeout(0.05)
            with suppress(socket.timeout):
                sock.recv(1 << 16)
    until(lambda: rests(served), "all is given back")


def test_a_map_that_changes_under_a_search_ends_in_an_answer(
    served: Served, searched: Target
) -> None:
    target = served.register(searched.pid)
    over = threading.Event()

    def change() -> None:
        while not over.is_set():  # a part of another mapping, and of its neighbour again
            searched.command(f"put {8 * MIB} x")

    changing = threading.Thread(target=change)
    changing.start()
    try:
        for _ in range(20):
            status, content = search(served, target, {"pattern": {"hex": "00 00 00 01"}})
            assert status == 200
            assert json.loads(content.splitlines()[-1])["done"]["stopped"] in (None, "limit")
    finally:
        over.set()
        changing.join()
    until(lambda: rests(served), "all is given back")
