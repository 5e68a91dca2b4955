"""Every error has its row in the table, and looks as RFC 9457 wants it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from farpeek import errors
from farpeek.identity import ListedProcess
from farpeek_api.http import problems, refusals
from support.every_error import EXAMPLES, IDENTITY, TARGET

if TYPE_CHECKING:
    from collections.abc import Iterator


def example(kind: type[Exception]) -> Exception:
    return next(each for each in EXAMPLES if type(each) is kind)


def leaves(root: type[Exception]) -> Iterator[type[Exception]]:
    below = root.__subclasses__()
    if not below:
        yield root
    for kind in below:
        yield from leaves(kind)


@pytest.mark.parametrize("leaf", [*leaves(errors.FarpeekError), *leaves(refusals.Refusal)])
def test_every_leaf_of_the_trees_has_its_own_row(leaf: type[Exception]) -> None:
    assert leaf in problems.TABLE
    assert leaf in {type(each) for each in EXAMPLES}


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_a_problem_is_as_the_rfc_wants_it(error: Exception) -> None:
    row = problems.TABLE[type(error)]
    response = problems.answer(error, "4242-8812345")
    body = read(response)
    assert response.status == row.status == body["status"]
    assert response.content_type == "application/problem+json"
    assert body["type"] == f"urn:farpeek:problem:{row.slug}"
    assert body["title"] == row.title
    assert body["detail"] == str(error)


def test_access_denied_names_gate_hint_and_errno() -> None:
    body = read(problems.answer(example(errors.AccessDenied), "4242-8812345"))
    assert (body["gate"], body["hint"], body["errno"]) == ("yama", "sysctl", "EPERM")
    assert (body["target"], body["retryable"]) == ("4242-8812345", False)


def test_target_exited_holds_the_target() -> None:
    target = read(problems.answer(errors.TargetExited(TARGET), "4242-8812345", "uid 0"))["target"]
    assert target == {
        "id": "4242-8812345",
        "pid": 4242,
        "ns_pids": [4242, 17],
        "start_time": "2026-06-02T12:22:26.120Z",
        "comm": "ruby",
        "exe": "/usr/bin/ruby3.1",
        "exe_deleted": False,
        "ppid": 1,
        "cmdline": None,
        "process_state": "zombie",
        "uid": 1000,
        "gid": 1000,
        "cgroup": "/",
        "container": None,
        "pointer_size": 8,
        "byte_order": "little",
        "generation": 1,
        "page_size": 4096,
        "address_bits": 64,
        "state": "exited",
        "registered_at": "2026-06-02T12:22:30.000Z",
        "exited_at": "2026-06-02T12:22:31.500Z",
        "exit": {"code": None, "signal": "SIGSEGV", "core_dumped": True},
        "labels": {"a": "b"},
    }


def test_ambiguous_shows_the_candidates() -> None:
    candidates = read(problems.answer(example(errors.AmbiguousMatch)))["candidates"]
    assert [(each["pid"], each["target"]) for each in candidates] == [(4242, "4242-8812345")]


def test_more_candidates_than_anybody_reads_are_counted() -> None:
    error = errors.AmbiguousMatch([ListedProcess(IDENTITY, None)] * 8000)
    shown = read(problems.answer(error))
    assert (len(shown["candidates"]), shown["count"]) == (problems.MOST_CANDIDATES, 8000)


def test_an_invalid_request_names_the_place() -> None:
    assert read(problems.answer(example(errors.InvalidRequest)))["errors"] == [
        {"place": "addresses[3]", "cause": "no"}
    ]


@pytest.mark.parametrize(
    ("error", "seconds"),
    [(errors.TooBusy("no", 7), "7"), (errors.TargetStuck("no"), "1"), (errors.ShuttingDown(), "1")],
)
def test_what_may_work_later_says_when(error: Exception, seconds: str) -> None:
    response = problems.answer(error)
    assert response.headers["Retry-After"] == seconds
    assert read(response)["retryable"] is True


def test_a_401_says_how() -> None:
    assert problems.answer(refusals.Unauthenticated("no")).headers["WWW-Authenticate"] == "Bearer"


def test_the_unforeseen_is_internal_and_tells_nothing() -> None:
    response = problems.answer(RuntimeError("secret"))
    assert response.status == 500
    assert read(response)["type"] == "urn:farpeek:problem:internal"
    assert b"secret" not in bytes_of(response)


@pytest.mark.parametrize(
    ("error", "slug"),
    [
        (web.HTTPNotFound(), "not-found"),
        (web.HTTPMethodNotAllowed("PUT", ["GET"]), "method-not-allowed"),
        (web.HTTPRequestEntityTooLarge(1, 2), "too-large"),
        (web.HTTPExpectationFailed(), "unsupported-expectation"),
        (web.HTTPBadRequest(), "malformed"),
    ],
)
def test_what_the_framework_raises_is_a_problem_too(error: web.HTTPException, slug: str) -> None:
    response = problems.answer(error)
    assert response.status == error.status
    assert read(response)["type"] == f"urn:farpeek:problem:{slug}"
    assert response.headers.get("Allow") == error.headers.get("Allow")


def bytes_of(response: web.Response) -> bytes:
    assert isinstance(response.body, bytes)
    return response.body


def read(response: web.Response) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(bytes_of(response))
    return body


def test_a_deadline_says_what_was_under_way_and_since_when() -> None:
    body = read(problems.answer(example(errors.DeadlineExceeded)))
    assert (body["stage"], body["since"]) == ("pin", "1970-01-01T00:00:00.000Z")
    assert "since" not in read(problems.answer(errors.DeadlineExceeded("no")))
