"""Targets over HTTP: registered, listed, waited for, released."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import threading
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from farpeek_api.http import lists, problems
from support.ending import ended
from support.in_process import in_process
from support.sample import Sample
from support.waiting import until
from support.wire import Served, UnixConnection, ask

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.wire import Reply


def register(served: Served, pid: int, **members: object) -> Reply:
    return served.request("POST", "/v1/targets", {"pid": pid, **members})


def test_registering_is_created_once_and_ok_afterwards(served: Served) -> None:
    with Sample() as process:
        first = register(served, process.pid, labels={"app": "one"})
        assert first.status == 201
        assert first.headers["location"] == f"/v1/targets/{first.json['id']}"
        again = register(served, process.pid)
        assert (again.status, again.json["id"]) == (200, first.json["id"])
        assert again.json["labels"] == {"app": "one"}
        assert register(served, process.pid, labels={}).json["labels"] == {}


def test_a_target_has_the_members_of_the_contract(served: Served) -> None:
    with Sample() as process:
        body = register(served, process.pid).json
    assert list(body) == [
        *(
            "id",
            "pid",
            "ns_pids",
            "start_time",
            "comm",
            "exe",
            "exe_deleted",
            "uid",
            "gid",
            "cgroup",
            "container",
        ),
        *("ppid", "cmdline", "process_state"),
        *(
            "pointer_size",
            "byte_order",
            "generation",
            "page_size",
            "address_bits",
            "state",
            "registered_at",
            "exited_at",
        ),
        *("exit", "labels"),
    ]
    assert (body["pid"], body["uid"], body["state"]) == (process.pid, os.geteuid(), "running")
    assert (body["exited_at"], body["exit"]) == (None, None)
    for name in ("start_time", "registered_at"):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", body[name])
        age = datetime.now(UTC) - datetime.fromisoformat(body[name])
        assert abs(age) < timedelta(seconds=60)


def test_targets_are_listed_by_state(served: Served) -> None:
    with Sample() as process:
        target = served.register(process.pid)
        assert target in ids(served, "?state=running")
        assert target in ids(served)
        assert target not in ids(served, "?state=exited")


def ids(served: Served, query: str = "") -> list[str]:
    reply = served.request("GET", f"/v1/targets{query}")
    assert reply.status == 200
    return [each["id"] for each in reply.json["targets"]]


def test_processes_are_listed_by_what_they_are(served: Served, sample: Sample, target: str) -> None:
    reply = served.request("GET", f"/v1/processes?comm=pytho*&uid={os.geteuid()}")
    found = {each["pid"]: each for each in reply.json["processes"]}
    assert found[sample.pid]["target"] == target
    assert list(found[sample.pid]) == [
        *(
            "pid",
            "ns_pids",
            "start_time",
            "comm",
            "exe",
            "exe_deleted",
            "uid",
            "gid",
            "cgroup",
            "container",
        ),
        *("resident_bytes", "target"),
    ]
    nobody = served.request("GET", "/v1/processes?comm=no-such-name").json
    assert nobody == {"processes": []}
    assert served.request("GET", "/v1/processes?comm=PYTHO*").json == {"processes": []}


def test_a_name_that_is_no_utf_8_spoils_no_answer(served: Served, folder: Path) -> None:
    program = os.fsencode(folder) + b"/sl\xffeep"
    shutil.copy(os.fsencode(shutil.which("sleep") or ""), program)
    with subprocess.Popen([program, "1000"]) as process:
        try:
            shown = register(served, process.pid)
            assert shown.status == 201
            assert shown.json["exe"] == f"{folder}/sl\\xffeep"
            for path in ("/v1/processes", "/v1/targets"):
                assert served.request("GET", path).status == 200
        finally:
            process.kill()


def test_a_match_with_several_processes_shows_the_candidates(served: Served) -> None:
    with Sample() as one, Sample() as two:
        reply = served.request("POST", "/v1/targets", {"match": {"comm": "python*"}})
        assert (reply.status, reply.slug) == (409, "ambiguous")
        shown = {each["pid"] for each in reply.json["candidates"]}
        assert len(shown) == min(reply.json["count"], problems.MOST_CANDIDATES)
        assert {one.pid, two.pid} <= shown or reply.json["count"] > problems.MOST_CANDIDATES


def test_a_long_list_of_targets_is_sent_in_slices_and_whole(folder: Path) -> None:
    with ExitStack() as stack:
        service = stack.enter_context(Served(folder))
        children = [stack.enter_context(sleeper()) for _ in range(700)]
        registered = [service.register(child.pid) for child in children]
        assert ids(service) == registered
        listed = service.request("GET", "/v1/processes?comm=sleep")
        assert {child.pid for child in children} <= {
            each["pid"] for each in listed.json["processes"]
        }
        assert "truncated" not in listed.json
        head = service.request("HEAD", "/v1/targets")
        assert (head.status, head.body) == (200, b"")
        # From the number of the 650th on; those that were let go of meanwhile are missing.
        service.request("DELETE", f"/v1/targets/{registered[660]}")
        assert ids(service, "?from=651") == [*registered[650:660], *registered[661:]]
        middle = sorted(child.pid for child in children)[350]
        rest = service.request("GET", f"/v1/processes?comm=sleep&from={middle}").json["processes"]
        assert [each["pid"] for each in rest] == sorted(
            each["pid"] for each in listed.json["processes"] if each["pid"] >= middle
        )


async def test_a_list_that_is_cut_says_so_and_where_to_go_on(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lists, "MOST", 100)
    with ExitStack() as stack:
        children = [stack.enter_context(sleeper()) for _ in range(250)]
        async with in_process(folder) as (path, service):
            wanted = [(await service.register(child.pid))[0].id for child in children]
            found: list[str] = []
            first = 0
            while True:
                query = f"/v1/targets?from={first}"
                shown = (await asyncio.to_thread(ask, UnixConnection(path), "GET", query)).json
                found += [each["id"] for each in shown["targets"]]
                if "truncated" not in shown:
                    break
                assert (shown["truncated"], len(shown["targets"])) == (True, 100)
                first = shown["next"]
            assert found == wanted


@contextmanager
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with ended(subprocess.Popen(["sleep", "1000"])) as process:
        yield process


def test_a_match_with_no_process_is_no_such_process(served: Served) -> None:
    reply = served.request("POST", "/v1/targets", {"match": {"comm": "no-such-name"}})
    assert (reply.status, reply.slug) == (404, "no-such-process")


def test_waiting_ends_with_the_exit(served: Served) -> None:
    with Sample() as process:
        target = served.register(process.pid)
        answers: list[Reply] = []
        path = f"/v1/targets/{target}?wait=exit&timeout_s=60"
        waiting = threading.Thread(target=lambda: answers.append(served.request("GET", path)))
        waiting.start()
        process.exit(7)
        waiting.join(60)
        (reply,) = answers
        assert reply.status == 200
        assert reply.json["state"] in ("exited", "reaped")


def test_waiting_ends_with_the_running_target_at_the_timeout(served: Served, target: str) -> None:
    reply = served.request("GET", f"/v1/targets/{target}?wait=exit&timeout_s=0.05")
    assert (reply.status, reply.json["state"]) == (200, "running")


def test_an_exited_target_is_shown_but_not_read(served: Served) -> None:
    with Sample() as process:
        target = served.register(process.pid)
        address = process.address
        process.exit(0)
        served.request("GET", f"/v1/targets/{target}?wait=exit")
        reply = served.readv(target, addresses=[address], lengths=8)
        assert (reply.status, reply.slug) == (410, "target-exited")
        assert reply.json["target"]["id"] == target
        assert served.request("GET", f"/v1/targets/{target}").status == 200


def test_a_released_target_is_gone_for_all(served: Served) -> None:
    with Sample() as process:
        target = served.register(process.pid)
        reply = served.request("DELETE", f"/v1/targets/{target}")
        assert (reply.status, reply.body) == (204, b"")
        for _ in range(2):
            gone = served.request("DELETE", f"/v1/targets/{target}")
            assert (gone.status, gone.slug) == (404, "no-such-target")
            assert gone.json["target"] == target
        assert register(served, process.pid).json["id"] == target


def test_exited_targets_leave_the_list_after_their_time(folder: Path) -> None:
    with Served(folder, "--exited-ttl", "0.2") as service, Sample() as process:
        target = service.register(process.pid)
        process.exit(0)
        path = f"/v1/targets/{target}"
        until(lambda: service.request("GET", path).status == 404, "the target is forgotten")


def test_info_shows_what_the_service_can_do(served: Served) -> None:
    info = served.request("GET", "/v1/info").json
    assert (info["api"], info["kernel"]) == ("v1", os.uname().release)
    assert list(info["capabilities"]) == [
        *("process_vm", "pidfd", "nowait", "write", "exit_status", "reap", "residency", "guards"),
        *("build_id", "prefetch", "generation"),
    ]
    for capability in info["capabilities"].values():
        assert set(capability) == {"provided", "technique", "detail"}
        assert capability["provided"] in ("native", "emulated", "unavailable")
    assert info["limits"]["max_regions"] == 2000
    assert info["limits"]["max_body_bytes"] == 200_000
    assert info["listeners"][0] == f"unix:{served.path}"
    assert set(info["threads"]) == {"busy", "idle", "stuck"}
    assert set(info["targets"]) == {"running", "exited"}
    assert info["stuck"] == []


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
def test_the_probes_answer(served: Served, path: str) -> None:
    assert served.request("GET", path).status == 200
    assert served.request("HEAD", path).status == 200
