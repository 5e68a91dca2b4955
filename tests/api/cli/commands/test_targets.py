"""`ps`, `register`, `release`, `targets`, `info`: who is there, and who is held."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import pytest

from farpeek_api.cli import statuses
from farpeek_api.cli.show.sizes import size
from support.commands import run, screen
from support.sample import Sample
from support.targets import start
from support.waiting import until
from support.wire import Served

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.targets import Target

_HOSTILE = "a\x1b[31m\u202e\\"


@pytest.fixture(scope="module")
def hostile() -> Iterator[Target]:
    with start("plain", "--name", _HOSTILE) as target:
        yield target


def test_ps_lists_processes_and_marks_registered_ones(sample: Sample) -> None:
    run("register", sample.pid)
    with start("plain") as other:
        lines = run("ps").lines
        assert lines[0].split()[:1] == ["PID"]
        for pid, mark in ((sample.pid, "*"), (other.pid, " ")):
            (line,) = [each for each in lines if f" {pid} " in each]
            assert line.startswith(mark)


def test_ps_shows_how_much_of_a_process_is_in_memory() -> None:
    with start("plain") as target:
        (shown,) = run("ps", f"{target.pid}", "--json").json["processes"]
        assert shown["resident_bytes"] > 0
        titles, line = run("ps", f"{target.pid}").lines
        column = slice(titles.index("UID") + 3, titles.index("MEMORY") + 6)
        assert line[column].strip() == size(shown["resident_bytes"])


def test_ps_finds_by_name_path_glob_and_what_a_target_is_known_by() -> None:
    with start("plain", "--name", "quite-odd") as target:
        for pattern in ("quite-odd", "ite-o", "quite-*", "comm=quite-odd", f"{target.pid}"):
            found = run("ps", pattern, "--json").json["processes"]
            assert target.pid in [each["pid"] for each in found]
        paths = run("ps", "*/bin/plain", "--json").json["processes"]
        assert target.pid in [each["pid"] for each in paths]
        ran = run("ps", "quite-od")
        assert ran.status == statuses.DONE
        ran = run("ps", "quitte-odd")
        assert ran.status == statuses.NO_TARGET
        assert "did you mean quite-odd?" in ran.error


@pytest.mark.parametrize("columns", [80, 40])
def test_hostile_names_are_escaped_and_lines_fit(columns: int, hostile: Target) -> None:
    run("register", hostile.pid, "--label", f"note={_HOSTILE}")
    shown = r"a\x1b[31m\u202e\\"
    for words in (["ps", str(hostile.pid)], ["targets", "--label", f"note={_HOSTILE}"]):
        seen = screen(*words, columns=columns)
        assert len(seen.lines) == 2
        assert seen.lines[1].count("a\\x1b[3") == 1 or columns == 40
        assert "\u202e" not in seen.received.decode()
        assert b"\x1b[31m\\" not in seen.received
    whole = run("ps", hostile.pid).text
    assert shown in whole


def test_all_that_fit_are_registered_a_line_each() -> None:
    with start("plain", "--name", "many-of") as one, start("plain", "--name", "many-of") as other:
        ran = run("register", "comm=many-o?", "--all", "--label", "kind=many")
        assert ran.status == statuses.DONE
        assert {line.split("-")[0] for line in ran.lines} == {str(one.pid), str(other.pid)}
        shown = run("register", "comm=many-of", "--all", "--json").json
        assert {each["id"] for each in shown["targets"]} == set(ran.lines)
        assert shown["refused"] == []
        assert run("register", "comm=many-of").status == statuses.USAGE
        curl = run("register", "comm=many-of", "--all", "--curl").text
        done = subprocess.run(["sh", "-c", curl], check=True, capture_output=True, text=True)
        assert len(json.loads(done.stdout)["targets"]) == 2
    none = run("register", "comm=many-off", "--all")
    assert none.status == statuses.NO_TARGET
    assert "no process fits 'comm=many-off'" in none.error
    alone = run("register", one.pid, "--all")
    assert alone.status == statuses.USAGE
    assert "--all goes with comm=NAME" in alone.error


def test_those_that_are_refused_are_told_with_the_reason(folder: Path) -> None:
    with (
        Served(folder, "--max-client-targets", "1") as service,
        start("plain", "--name", "too-many"),
        start("plain", "--name", "too-many"),
    ):
        ran = run("register", "comm=too-many", "--all", "--url", f"unix:{service.path}")
    assert ran.status == statuses.FAILED
    assert len(ran.lines) == 1
    assert "farpeek register: pid " in ran.error
    assert ran.error.count("\n") == 1


def test_registering_prints_the_id_and_sets_labels() -> None:
    with start("plain") as target:
        ran = run("register", target.pid, "--label", "for=me", "--label", "x=y=z")
        identity = ran.text.strip()
        assert identity.startswith(f"{target.pid}-")
        shown = run("register", identity, "--json").json
        assert (shown["id"], shown["labels"]) == (identity, {"for": "me", "x": "y=z"})
        (line,) = run("targets", "--label", "for=me").lines[1:]
        assert line.split()[:4] == [identity, str(target.pid), "plain", "running"]
        curl = run("register", target.pid, "--curl").text
        done = subprocess.run(["sh", "-c", curl], check=True, capture_output=True)
        assert json.loads(done.stdout)["id"] == identity
    assert run("register", target.pid, "--label", "x").status == statuses.USAGE


def test_releasing_finds_the_target_by_any_word_and_registers_nothing() -> None:
    with start("plain", "--name", "let-go") as target:
        for word in (str(target.pid), "comm=let-*", run("register", target.pid).text.strip()):
            run("register", target.pid)
            assert run("release", word).status == statuses.DONE
            gone = run("release", word)
            assert gone.status == statuses.NO_TARGET
            assert "`farpeek targets`" in gone.error


def test_releasing_what_fits_several_is_refused() -> None:
    with start("plain", "--name", "twin") as one, start("plain", "--name", "twin") as other:
        for each in (one, other):
            run("register", each.pid)
        ran = run("release", "comm=twin")
        assert ran.status == statuses.USAGE
        assert all(f"pid {each.pid} " in ran.error for each in (one, other))
        for each in (one, other):
            assert run("release", each.pid, "--everybody").status == statuses.DONE


def test_an_exited_target_is_listed_with_how_it_ended() -> None:
    with Sample() as short:
        identity = run("register", short.pid).text.strip()
        short.exit(7)

        def shown() -> list[str]:
            return [line for line in run("targets").lines if line.startswith(identity)]

        until(lambda: any("reaped: 7" in line for line in shown()), "it is reaped")
        assert run("targets", "--state", "running", "--json").json["targets"] != []


def test_info_shows_what_the_service_says() -> None:
    ran = run("info")
    assert ran.status == statuses.DONE
    for word in ("version", "kernel", "limits max_regions", "process_vm", "native"):
        assert word in ran.text
    assert run("info", "--json").json["api"] == "v1"
    curl = run("info", "--curl").text
    done = subprocess.run(["sh", "-c", curl], check=True, capture_output=True)
    assert json.loads(done.stdout)["api"] == "v1"
    for columns in (80, 40):
        assert screen("info", columns=columns).status == statuses.DONE
