"""Searches under a policy: who may, in what, and targets that become something else meanwhile."""

from __future__ import annotations

import contextlib
import json
from http.client import HTTPException, HTTPResponse
from typing import TYPE_CHECKING

import pytest

from farpeek_api.policy import tokens
from support.becoming import SECRET, become_vault
from support.folders import open_folder
from support.policies import As, Policed, entry
from support.wire import UnixConnection

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.targets import Target

FINDER, READER = tokens.make(), tokens.make()
WHERE = 'modes = ["nowait"]\ntargets = [{ exe = "*/ruby*" }]'
POLICY = entry("finder", FINDER, ["inspect", "register", "search"], WHERE) + entry(
    "reader", READER, ["inspect", "register", "read"], WHERE
)


@pytest.fixture(scope="module")
def service() -> Iterator[Policed]:
    with open_folder() as made, Policed(made, POLICY) as made_service:
        yield made_service


def body(ruby: Target, **members: object) -> dict[str, object]:
    marker = ruby["marker"]
    return {
        "pattern": {"number": 1, "type": "u64"},
        "ranges": [[hex(marker), hex(marker + 4096)]],
        **members,
    }


def test_the_verb_the_mode_and_the_program_decide(
    service: Policed, programs: Path, ruby: Target
) -> None:
    finder, reader = As(service, FINDER), As(service, READER)
    target = finder.register(ruby.pid).json["id"]
    path = f"/v1/targets/{target}/search"
    found = finder.request("POST", path, body(ruby))
    assert found.status == 200
    done = json.loads(found.body.splitlines()[-1])["done"]
    assert done["matches"] == 4096 // 8
    waiting = finder.request("POST", path, body(ruby, mode="wait"))
    assert (waiting.status, waiting.slug) == (403, "forbidden")
    refused = reader.request("POST", path, body(ruby))
    assert (refused.status, refused.json["verb"]) == (403, "search")
    become_vault(ruby, programs)
    secret = {"number": SECRET, "type": "u64"}
    hidden = finder.request("POST", path, body(ruby, pattern=secret))
    absent = finder.request("POST", "/v1/targets/1-1/search", body(ruby))
    assert (hidden.status, absent.status) == (404, 404)
    assert hidden.slug == absent.slug == "no-such-target"


@contextlib.contextmanager
def going_on(service: Policed, finder: As, target: str) -> Iterator[HTTPResponse]:
    """Have a search go on for as long as nobody reads: it finds more than sockets hold."""
    connection = UnixConnection(service.path)
    wanted = {"pattern": {"hex": "00"}, "limit": 1_000_000, "context": 1024}
    headers = {"Content-Type": "application/json", **finder.headers}
    connection.request("POST", f"/v1/targets/{target}/search", json.dumps(wanted), headers)
    answer = connection.getresponse()
    assert answer.status == 200
    assert answer.readline()
    yield answer
    connection.close()


def test_one_that_meets_another_program_says_so(
    service: Policed, programs: Path, ruby: Target
) -> None:
    finder = As(service, FINDER)
    target = finder.register(ruby.pid).json["id"]
    with going_on(service, finder, target) as answer:
        ruby.send(f"become {programs / 'ruby'} {SECRET:#x}")
        ruby.await_ready()
        done = json.loads(answer.read().splitlines()[-1])["done"]
    assert (done["stopped"], done["generation"]) == ("target-changed", 1)


def test_one_that_meets_a_forbidden_program_is_cut_off(
    service: Policed, programs: Path, ruby: Target
) -> None:
    finder = As(service, FINDER)
    target = finder.register(ruby.pid).json["id"]
    with going_on(service, finder, target) as answer:
        become_vault(ruby, programs)
        received = b""
        with contextlib.suppress(ConnectionError, HTTPException):
            while piece := answer.read(1 << 20):
                received = received[-(1 << 16) :] + piece
        assert b'"done"' not in received
