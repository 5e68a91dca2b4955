"""`farpeek events` and `farpeek wait` on real processes."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from farpeek_api.cli import statuses
from support.commands import Screen, run
from support.ending import ended
from support.odd_server import OddServer, answer
from support.targets import start
from support.waiting import PATIENCE_S, until
from support.wire import Served

if TYPE_CHECKING:
    from pathlib import Path

COMMAND = [sys.executable, "-m", "farpeek_api"]


def test_the_events_of_a_target_end_with_it() -> None:
    with start("plain", "--name", "e\x1b[31mvil") as process:
        words = [*COMMAND, "events", str(process.pid), "--after", "0"]
        with ended(subprocess.Popen(words, stdout=subprocess.PIPE, text=True)) as listening:
            assert listening.stdout is not None
            lines = [listening.stdout.readline()]
            while " registered " not in lines[-1]:
                assert " lost " in lines[-1]
                lines.append(listening.stdout.readline())
            process.send("exit 7")
            process.reap()
            lines += listening.stdout.read().splitlines()
            assert listening.wait(PATIENCE_S) == statuses.DONE
    assert f"{process.pid} e\\x1b[31mvil" in lines[-1]
    assert "\x1b" not in "".join(lines)
    assert " reaped " in lines[-1]
    assert "has exited with status 7" in lines[-1]


def test_each_event_is_a_json_document(served: Served) -> None:
    with start("plain") as process:
        target = served.register(process.pid)
        process.send("exit 0")
        process.reap()
        words = [*COMMAND, "events", "--after", "0", "--json"]
        with ended(subprocess.Popen(words, stdout=subprocess.PIPE, text=True)) as listening:
            assert listening.stdout is not None
            found: list[str] = []
            numbers: list[int] = []
            for line in listening.stdout:
                event = json.loads(line)
                numbers.append(event["id"])
                if event["event"] == "lost":
                    assert event["target"] is None
                elif event["target"]["id"] == target:
                    found.append(event["event"])
                if found[-1:] == ["reaped"]:
                    break
    assert found == ["registered", "exited", "reaped"]
    assert numbers == sorted(numbers)


@pytest.mark.parametrize("columns", [80, 40])
def test_events_fit_a_terminal_and_end_with_ctrl_c(served: Served, columns: int) -> None:
    with start("plain", "--name", "event target") as process:
        served.register(process.pid)
        with Screen("events", "--after", "0", columns=columns) as shown:
            shown.expect(f" {process.pid} event t")
            shown.process.sendintr()
            assert shown.finish() == statuses.INTERRUPTED
    line = next(line for line in shown.lines if f" {process.pid} " in line)
    assert line.split()[1] == "registered"
    assert shown.colour("registered") == "green"


def test_events_go_on_with_a_service_that_was_started_again(folder: Path) -> None:
    with start("plain") as one, start("plain") as other, ExitStack() as stack:
        with Served(folder) as service:
            service.register(one.pid)
            words = [*COMMAND, "events", "--after", "0", "--json", "--url", f"unix:{service.path}"]
            popen = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
            listening = stack.enter_context(ended(popen))
            assert listening.stdout is not None
            lines = [listening.stdout.readline()]
            while '"registered"' not in lines[-1]:
                lines.append(listening.stdout.readline())
            service.stop()
        with Served(folder) as service:
            service.register(other.pid)
            events = [json.loads(listening.stdout.readline())]
            while events[-1]["event"] != "registered":
                events.append(json.loads(listening.stdout.readline()))
            assert events[-1]["target"]["pid"] == other.pid
            assert "lost" in [event["event"] for event in events]


def test_events_can_be_had_by_curl() -> None:
    with start("plain") as process:
        ran = run("events", process.pid, "--after", "0", "--curl")
        assert ran.status == statuses.DONE
        words = ["timeout", "1", "sh", "-c", f"exec {ran.text}"]
        done = subprocess.run(words, check=False, capture_output=True, text=True)
    assert "event: registered" in done.stdout


def _await_registered(service: Served, pid: int) -> None:
    def is_registered() -> bool:
        found = service.request("GET", "/v1/targets?state=running").json["targets"]
        return pid in [each["pid"] for each in found]

    until(is_registered, "the command has registered the process")


@pytest.mark.parametrize(
    ("command", "how"),
    [
        ("exit 0", "has exited with status 0"),
        ("exit 7", "has exited with status 7"),
        ("abort", "was ended by SIGABRT"),
    ],
)
def test_wait_ends_with_the_target_and_says_how(served: Served, command: str, how: str) -> None:
    with start("plain") as process:
        words = [*COMMAND, "wait", str(process.pid)]
        with ended(subprocess.Popen(words, stdout=subprocess.PIPE, text=True)) as waiting:
            _await_registered(served, process.pid)
            assert waiting.poll() is None
            process.send(command)
            process.reap()
            assert waiting.stdout is not None
            assert waiting.stdout.read().startswith(f"{process.pid} plain {how}")
            assert waiting.wait(PATIENCE_S) == statuses.DONE


def test_wait_for_what_has_ended_tells_it_at_once(served: Served) -> None:
    with start("plain") as process:
        target = served.register(process.pid)
        process.send("exit 3")
        process.reap()
        ran = run("wait", target, "--json")
    assert ran.status == statuses.DONE
    assert ran.json["exit"]["code"] == 3


def test_wait_gives_up_after_its_timeout() -> None:
    with start("plain") as process:
        ran = run("wait", process.pid, "--timeout", "0.05")
    assert ran.status == statuses.FAILED
    assert f"{process.pid} plain has not exited in 0.05 s" in ran.error


def test_wait_for_nobody_is_status_4() -> None:
    ran = run("wait", "comm=no such thing")
    assert ran.status == statuses.NO_TARGET
    assert run("wait", 1 << 22).status == statuses.NO_TARGET


def test_an_end_that_no_service_has_seen_is_told_as_that(folder: Path, served: Served) -> None:
    with start("plain") as process:
        known = served.request("GET", f"/v1/targets/{served.register(process.pid)}").body
    kind = "application/problem+json"
    unknown = b'{"type":"urn:farpeek:problem:no-such-target","status":404,"detail":"unknown"}'
    gone = b'{"type":"urn:farpeek:problem:target-exited","status":410,"detail":"gone"}'
    answers = [answer(200, known), b"", answer(404, unknown, kind), answer(410, gone, kind)]
    with OddServer(folder / "s", *answers) as server:
        ran = run("wait", process.pid, "--url", f"unix:{server.path}")
    assert ran.status == statuses.FAILED
    assert f"{process.pid} plain has exited while no service held it" in ran.error


def test_wait_ends_with_ctrl_c(served: Served) -> None:
    with start("plain") as process, Screen("wait", process.pid) as shown:
        _await_registered(served, process.pid)
        shown.process.sendintr()
        assert shown.finish() == statuses.INTERRUPTED
        assert shown.lines in ([], ["^C"])
