"""Targets by the client: how they are named, found, followed to their end and let go."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING
from urllib.parse import unquote

import pytest

from farpeek_api.client import Ambiguous, Invalid, NoSuchProcess, NoSuchTarget, TargetExited, calls
from support import targets

if TYPE_CHECKING:
    from farpeek_api.client import Client, Target
    from support.sample import Sample

HOSTILE = "a\x1b[31m\n?&#%/b"


def test_a_target_is_the_same_by_pid_by_id_and_by_what_it_is(peek: Client) -> None:
    with targets.start("plain", "--name", HOSTILE) as plain:
        first = peek.target(plain.pid, labels={"k": "v"})
        assert first.pid == plain.pid
        assert first.info.labels == {"k": "v"}
        assert peek.target(first.id).id == first.id
        assert peek.target(comm=HOSTILE, uid=os.getuid()).id == first.id
        assert first.info.process.comm == HOSTILE
        assert first.id in [each.id for each in peek.targets(label="k=v")]
        (listed,) = peek.processes(comm=HOSTILE)
        assert (listed.pid, listed.target) == (plain.pid, first.id)
        first.release()
        with pytest.raises(NoSuchTarget):
            first.refresh()


def test_what_fits_no_process_or_several_is_an_error(peek: Client) -> None:
    with pytest.raises(NoSuchProcess):
        peek.target(comm="nothing-has-this-name")
    with (
        targets.start("plain", "--name", "twins") as one,
        targets.start("plain", "--name", "twins") as other,
    ):
        with pytest.raises(Ambiguous) as caught:
            peek.target(comm="twins")
        assert {each["pid"] for each in caught.value.candidates} == {one.pid, other.pid}


@pytest.mark.parametrize("ways", [{}, {"process": 1, "comm": "x"}])
def test_a_process_is_named_in_one_way(peek: Client, ways: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="one of them"):
        peek.target(**ways)


@pytest.mark.parametrize("name", ["../info", "a/b", "ü?x=1#", " ", "%2e%2e"])
def test_an_id_reaches_the_service_as_it_is(
    peek: Client, seen: Target, sample: Sample, name: str
) -> None:
    (result,) = peek.readv([(name, [(sample.address, 1)])])
    assert isinstance(result, NoSuchTarget)
    with pytest.raises(Invalid):
        peek.target(name)
    path = calls.target_path(name, "/readv")
    assert path.count("/") == 4
    assert not {"?", "#", " "} & set(path)
    assert unquote(path) == f"/v1/targets/{name}/readv"
    assert seen.refresh().state == "running"


def test_an_exit_is_waited_for_and_told(peek: Client) -> None:
    with targets.start("plain") as plain:
        seen = peek.target(plain.pid)
        with pytest.raises(TimeoutError):
            seen.wait(timeout_s=0.05)
        ending = threading.Timer(0.05, plain.send, ["exit 7"])
        ending.start()
        found = seen.wait()
        ending.join()
        assert found.state in ("exited", "reaped")
        plain.reap()
        with pytest.raises(TargetExited):
            seen.read(plain["marker"], 8)
        with pytest.raises(TargetExited):
            peek.target(seen.id)


def test_the_service_says_what_it_is(peek: Client) -> None:
    assert peek.info()["api"] == "v1"
