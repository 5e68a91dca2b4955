"""`farpeek watch` on a real process: changes, gaps, and every tick accounted for."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from farpeek_api import output
from farpeek_api.cli import statuses
from support.commands import Screen, run
from support.ending import ended
from support.targets import Target, start
from support.waiting import PATIENCE_S, until
from support.wire import Served

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

COMMAND = [sys.executable, "-m", "farpeek_api", "watch"]


@pytest.fixture
def counting() -> Iterator[Target]:
    with start("counters") as process:
        yield process


def _words(process: Target, *more: object) -> list[str]:
    words = [process.pid, hex(process["counters"]), *more]
    return [str(each) for each in words]


def _accounted(sums: dict[str, Any]) -> bool:
    by = sum(sums["dropped_by"].values())
    return sums["read"] + sums["dropped"] == sums["ticks"] and by == sums["dropped"]


def test_changes_are_told_a_line_each(counting: Target) -> None:
    words = _words(counting, "--type", "u64", "--count", 2, "--hz", 200)
    pipe = subprocess.PIPE
    with ended(
        subprocess.Popen([*COMMAND, *words], stdout=pipe, stderr=pipe, text=True)
    ) as watching:
        assert watching.stdout is not None
        assert watching.stderr is not None
        lines = [watching.stdout.readline() for _ in range(2)]
        assert [line.split()[2] for line in lines] == ["0", "0"]
        counting.command("set 1 42")
        moment, address, *change = watching.stdout.readline().split()
        assert re.fullmatch(r"\d\d:\d\d:\d\d\.\d\d\d", moment)
        assert address == f"{counting['counters'] + 8:x}"
        assert change == ["0", "->", "42"]
        counting.send("exit 3")
        assert watching.wait(PATIENCE_S) == statuses.NO_TARGET
        told = watching.stderr.read().splitlines()
    assert re.fullmatch(r"farpeek watch: \d+ ticks: \d+ read, \d+ lost.*", told[0])
    assert f"{counting.pid} counters has exited" in told[1]


def test_each_change_is_a_json_document_and_the_last_one_accounts_for_all(
    counting: Target,
) -> None:
    counting.command("run")
    ran = run("watch", *_words(counting, 16, "--hz", 100, "--ticks", 30, "--json"))
    assert ran.status == statuses.DONE
    *changes, sums = map(json.loads, ran.lines)
    assert len(changes) > 5
    assert changes[0]["before"] is None
    assert all(new["before"] == old["data"] for old, new in pairwise(changes))
    assert all(len(each["data"]) == 32 for each in changes)
    assert [each["tick"] for each in changes] == sorted({each["tick"] for each in changes})
    assert sums["ended"] == "left"
    assert sums["ticks"] >= 30
    assert _accounted(sums)


def test_values_are_json_numbers(counting: Target) -> None:
    counting.command("set 2 18446744073709551615")
    words = _words(counting, "--type", "u64", "--count", 3, "--ticks", 1, "--json")
    change, _ = map(json.loads, run("watch", *words).lines)
    assert change["values"] == [0, 0, 2**64 - 1]
    words = _words(counting, "--type", "pointer", "--ticks", 1, "--json")
    assert json.loads(run("watch", *words).lines[0])["values"] == ["0x0"]


@pytest.mark.parametrize(
    ("seconds", "hz"), [(2, 20), pytest.param(60, 20, marks=pytest.mark.slow), (1, 1000)]
)
def test_no_tick_is_lost_without_a_word(counting: Target, seconds: int, hz: int) -> None:
    counting.command("run")
    ticks = seconds * hz
    words = _words(counting, "--type", "u64", "--count", 50, "--hz", hz, "--ticks", ticks, "--json")
    ran = run("watch", *words)
    assert ran.status == statuses.DONE
    *changes, sums = map(json.loads, ran.lines)
    assert sums["ticks"] >= ticks
    assert _accounted(sums)
    for each in changes[1:]:
        assert len(each["values"]) == 50
        assert all(a <= b for a, b in zip(each["before"], each["values"], strict=True))


@pytest.mark.parametrize("columns", [80, 40])
@pytest.mark.parametrize("colours", [True, False])
def test_a_terminal_shows_what_is_there_and_what_was(
    counting: Target, columns: int, *, colours: bool
) -> None:
    environment = {} if colours else {"NO_COLOR": "1"}
    words = ("watch", *_words(counting, 12, "--hz", 20))
    counting.command("set 1 258")
    with Screen(*words, columns=columns, rows=12, environment=environment) as shown:
        shown.expect(r"tick \d+")  # a busy machine may lose any of them
        counting.command("set 0 511")
        shown.expect("was 00 00")
        shown.expect("tick ")
        where = f"{counting['counters']:x}"
        (row,) = (line for line in shown.lines if line.startswith(where))
        assert row.split()[1:5] == ["ff", "01", "00", "00"]
        dots = 6 if columns == 80 else 2
        assert row.endswith("was 00 00" + " .." * dots)
        assert len(row) <= columns
        assert shown.lines[0].startswith(f"{counting.pid} counters")
        assert shown.is_coloured == colours
        if colours:
            assert shown.colour("ff") == "brown"
        shown.process.sendintr()
        assert shown.finish() == statuses.INTERRUPTED
        assert re.fullmatch(r"\d+ ticks: \d+ read, \d+ lost.*", shown.lines[-1])
        assert b"\x1b[?25h" in shown.received


def test_more_rows_than_the_terminal_has_are_counted(counting: Target) -> None:
    words = ("watch", *_words(counting, "--type", "u64", "--count", 50, "--ticks", 1))
    with Screen(*words, rows=10) as shown:
        assert shown.finish() == statuses.DONE
        assert "45 more rows find no room here" in shown.lines


def test_what_cannot_be_read_any_more_is_drawn_with_its_reason(counting: Target) -> None:
    with Screen("watch", *_words(counting, 4, "--hz", 20), rows=12) as shown:
        shown.expect(r"tick \d+")  # a busy machine may lose any of them
        counting.command("close")
        shown.expect("no_access")
        shown.expect("tick ")
        assert any("-- -- -- --" in line and "was 00 00 00 00" in line for line in shown.lines)
        counting.command("open")
        shown.expect("was -- -- -- --")
        counting.kill()
        counting.reap()
        assert shown.finish() == statuses.NO_TARGET
        assert "was ended by SIGKILL" in " ".join(shown.lines)


def test_it_goes_on_with_a_service_that_was_started_again(counting: Target, folder: Path) -> None:
    with Served(folder) as service:
        words = _words(counting, "--type", "u64", "--hz", 50, "--json")
        command = [*COMMAND, *words, "--url", f"unix:{service.path}"]
        pipe = subprocess.PIPE
        with ended(subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True)) as watching:
            assert watching.stdout is not None
            assert watching.stderr is not None
            first = json.loads(watching.stdout.readline())
            assert first["values"] == [0]
            service.end()
            assert "it goes on once the service is back" in watching.stderr.readline()
            counting.command("set 0 42")
            with Served(folder):
                change = json.loads(watching.stdout.readline())
                assert (change["before"], change["values"]) == ([0], [42])
                assert change["tick"] > first["tick"]
                assert change["dropped_by"].get("service", 0) > 0
                watching.send_signal(signal.SIGINT)
                sums = json.loads(watching.stdout.readline())
                assert sums["ended"] == "left"
                assert _accounted(sums)
                assert watching.wait(PATIENCE_S) == statuses.INTERRUPTED


def test_who_is_not_read_for_long_is_cut_off_and_goes_on(counting: Target, folder: Path) -> None:
    """As by Ctrl-Z and `fg`."""
    with Served(folder, "--deadline", "0.5") as service:
        counting.command("run")
        words = _words(counting, 65536, "--hz", 200, "--json")
        command = [*COMMAND, *words, "--url", f"unix:{service.path}"]
        with ended(subprocess.Popen(command, stdout=subprocess.DEVNULL)) as watching:
            until(lambda: _subscriptions(service) == 1, "it has subscribed")
            watching.send_signal(signal.SIGSTOP)
            until(lambda: _subscriptions(service) == 0, "the service has cut it off")
            watching.send_signal(signal.SIGCONT)
            until(lambda: _subscriptions(service) == 1, "it has subscribed again")


def _subscriptions(service: Served) -> int:
    text = service.request("GET", "/metrics").body.decode()
    found = re.search(r"^farpeek_stream_subscriptions (\d+)", text, re.MULTILINE)
    assert found is not None
    return int(found[1])


def test_a_pipe_that_is_closed_ends_it(counting: Target) -> None:
    counting.command("run")
    words = " ".join([*COMMAND, *_words(counting, 8, "--hz", 100)])
    done = subprocess.run(
        ["bash", "-c", f"{words} | head -n 2; echo ${{PIPESTATUS[0]}}"],
        check=True,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert done.stdout.splitlines()[2:] == [str(output.PIPE_CLOSED)]
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("words", "cure"),
    [
        (["8", "--hz", "0"], "'0' is no rate"),
        (["8", "--hz", "1001"], "up to 1000"),
        (["8", "--hz", "often"], "'often' is no rate"),
        ([], "LENGTH is missing"),
        (["8", "--type", "u64"], "one word too many"),
        (["8", "--count", "2"], "--count goes with --type"),
        (["--type", "u46"], "did you mean u64?"),
        (["1M"], "too many to watch"),
        (["8", "--curl"], "WebSocket"),
    ],
)
def test_a_wrong_word_is_refused_with_its_cure(
    counting: Target, words: list[str], cure: str
) -> None:
    ran = run("watch", *_words(counting, *words))
    assert ran.status == statuses.USAGE
    assert cure in ran.error
    assert ran.error.count("\n") == 1
