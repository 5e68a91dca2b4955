"""Two hundred targets in one request: what becomes of one of them is its own affair."""

from __future__ import annotations

import base64
import json
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from support.targets import start
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from support.targets import Target
    from support.wire import Served

MANY = 200
NEXT = 1 << 32
"""What is added to the marker of a process by the program that it executes next."""


class Crowd:
    """Processes that hold a number each, and their targets."""

    def __init__(self, served: Served, stack: ExitStack, count: int, first: int = 1) -> None:
        self._served = served
        self.numbers = range(first, first + count)
        self.processes: list[Target] = [
            stack.enter_context(start("plain", "--marker", number)) for number in self.numbers
        ]
        self.targets = [served.register(each.pid) for each in self.processes]
        self.reads = [
            read_of(target, process["marker"])
            for target, process in zip(self.targets, self.processes, strict=True)
        ]
        post(served, self.reads)  # so that all are known to answer


def read_of(target: str, address: int) -> dict[str, Any]:
    return {"target": target, "addresses": [hex(address)], "lengths": 8}


def post(served: Served, reads: Sequence[object], **members: object) -> list[Any]:
    body = json.dumps({"reads": reads, **members}).encode()
    headers = {"Content-Type": "application/json"}
    results: list[Any] = served.request("POST", "/v1/readv", body, headers).json["results"]
    return results


def number_in(result: dict[str, Any]) -> int:
    return int.from_bytes(base64.b64decode(result["data"]), "little")


def slug_of(result: dict[str, Any]) -> str:
    return str(result["problem"]["type"]).rpartition(":")[2]


def is_stuck(served: Served, target: str) -> bool:
    stuck = served.request("GET", "/v1/info").json["stuck"]
    return any(each["target"] == target for each in stuck)


@pytest.fixture(scope="module")
def crowd(served: Served) -> Iterator[Crowd]:
    with ExitStack() as stack:
        yield Crowd(served, stack, MANY - 1)


@pytest.fixture
def hung(served: Served) -> Iterator[Target]:
    """One that has answered, and holds a page that never comes."""
    if os.geteuid() != 0:
        pytest.skip("userfaultfd needs root")
    with start("uffd") as target:
        post(served, [read_of(served.register(target.pid), target["before"])])
        yield target


def test_one_that_hangs_among_two_hundred_is_late_and_all_others_are_read(
    served: Served, crowd: Crowd, hung: Target
) -> None:
    reads = [*crowd.reads]
    reads.insert(77, read_of(served.register(hung.pid), hung["missing"]))
    results = post(served, reads, timeout_s=2)
    assert slug_of(results.pop(77)) == "deadline"
    assert [number_in(each) for each in results] == list(crowd.numbers)


def test_one_that_is_let_go_of_while_it_hangs_takes_nobody_with_it(
    served: Served, crowd: Crowd, hung: Target
) -> None:
    target = served.register(hung.pid)
    reads = [read_of(target, hung["missing"]), *crowd.reads]
    with ThreadPoolExecutor(1) as threads:
        asking = threads.submit(post, served, reads, timeout_s=3)
        until(lambda: is_stuck(served, target), "its thread hangs")
        assert served.request("DELETE", f"/v1/targets/{target}").status == 204
        late, *others = asking.result()
    assert slug_of(late) in {"deadline", "no-such-target"}
    assert [number_in(each) for each in others] == list(crowd.numbers)
    assert slug_of(post(served, [reads[0]])[0]) == "no-such-target"
    again = post(served, [read_of(served.register(hung.pid), hung["before"]), *crowd.reads])
    assert [number_in(each) for each in again[1:]] == list(crowd.numbers)
    assert again[0]["complete"]


def test_those_that_execute_another_program_or_end_meanwhile_give_no_others_bytes(
    served: Served, crowd: Crowd
) -> None:
    with ExitStack() as stack, ThreadPoolExecutor(1) as threads:
        changing = Crowd(served, stack, 20, first=MANY + 1)
        reads = [*changing.reads, *crowd.reads]
        for process, number in zip(changing.processes, changing.numbers, strict=True):
            asking = threads.submit(post, served, reads)
            if number % 2:
                process.kill()
            else:
                process.send(f"exec {number + NEXT}")
            results = asking.result()
            assert [number_in(each) for each in results[20:]] == list(crowd.numbers)
            for own, result in zip(changing.numbers, results, strict=False):
                _check(own, result)


def _check(own: int, result: dict[str, Any]) -> None:
    """What it holds, of the program that is named, or why it gives nothing."""
    if "problem" in result:
        assert own % 2
        assert slug_of(result) == "target-exited"
    elif result["complete"]:
        assert (result["generation"], number_in(result)) in {(1, own), (2, own + NEXT)}
    else:
        assert result["gaps"]  # a program that has only begun has no such page yet
