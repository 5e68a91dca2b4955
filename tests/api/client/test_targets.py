"""Targets by the client: how they are named, found, followed to their end and let go."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING
from urllib.parse import unquote

import pytest

from farpeek_api.client import (
    AccessDenied,
    Ambiguous,
    Interrupted,
    Invalid,
    NoSuchProcess,
    NoSuchTarget,
    TargetExited,
    Unreachable,
    calls,
    waiting,
)
from farpeek_api.client.steps import PATIENCE_S, Pause, Request
from support import targets
from support.odd_server import OddServer, answer
from support.serving import Service

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

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


def test_a_wait_goes_on_with_a_service_that_was_started_again(
    connect: Callable[..., Client], folder: Path, target_json: bytes
) -> None:
    unknown = b'{"type":"urn:farpeek:problem:no-such-target","status":404,"detail":"gone"}'
    exited = target_json.replace(b'"state": "running"', b'"state": "exited"')
    answers = [
        answer(200, target_json),
        b"",  # it ends while it is asked
        answer(404, unknown, "application/problem+json"),  # and knows nothing afterwards
        answer(200, target_json),
        answer(200, exited),
    ]
    with OddServer(folder / "s", *answers) as server:
        assert connect(f"unix:{server.path}").target(4242).wait().state == "exited"
        asked = [head.split()[:2] for head in server.heads]
    look = [b"GET", b"/v1/targets/4242-1?wait=exit&timeout_s=300.0"]
    assert asked == [[b"POST", b"/v1/targets"], look, look, [b"POST", b"/v1/targets"], look]


def test_a_wait_goes_on_however_long_ago_the_service_was_started_again_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = [0.0]
    monkeypatch.setattr(waiting.time, "monotonic", lambda: clock[0])
    steps = waiting.wait("4242-1", None)
    for _ in range(3):
        assert isinstance(next(steps), Request)
        clock[0] += 10 * PATIENCE_S  # so long the answer is waited for
        assert isinstance(steps.throw(Interrupted("the service has ended")), Pause)
    for _ in range(2):
        assert isinstance(next(steps), Request)
        assert isinstance(steps.throw(Unreachable("it is not there")), Pause)
        clock[0] += 0.6 * PATIENCE_S
    next(steps)
    with pytest.raises(Unreachable):
        steps.throw(Unreachable("it is not there"))


def test_a_wait_for_what_is_unknown_is_an_error_at_once(peek: Client) -> None:
    with targets.start("plain") as plain:
        seen = peek.target(plain.pid)
        seen.release()
        with pytest.raises(NoSuchTarget):
            seen.wait()


def test_the_service_says_what_it_is(peek: Client) -> None:
    assert peek.info()["api"] == "v1"


def test_a_target_that_the_service_may_not_look_at_is_registered_and_refused(
    connect: Callable[..., Client], folder: Path, sample: Sample
) -> None:
    with Service(folder, uid=1000) as service:
        peek = connect(f"unix:{service.path}")
        seen = peek.target(sample.pid)
        assert (seen.info.pointer_size, seen.info.byte_order) == (None, None)
        with pytest.raises(AccessDenied):
            seen.pointer(sample.address)
