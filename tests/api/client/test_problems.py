"""Every problem of the service's is an exception; what is no farpeek is told from one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from farpeek_api import client
from farpeek_api.client import (
    BadAnswer,
    Interrupted,
    Problem,
    TooBusy,
    Unauthenticated,
    Unreachable,
)
from farpeek_api.client.problems import problem_of, slugs
from farpeek_api.http import problems as served_problems
from support.odd_server import OddServer, answer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from farpeek_api.client import Client
    from support.sample import Sample
    from support.wire import Served

PROBLEM = "application/problem+json"
INFO = b'{"api":"v1"}'


def _rows() -> dict[str, int]:
    rows = [*served_problems.TABLE.values(), served_problems.INTERNAL]
    rows += [row for row, _ in served_problems._BY_STATUS.values()]  # noqa: SLF001 - all there are
    return {row.slug: row.status for row in rows}


def test_there_is_a_class_for_each_slug_and_no_other() -> None:
    assert {slug: kind.status_of_class for slug, kind in slugs().items()} == _rows()


def test_all_classes_are_to_be_had_from_the_package() -> None:
    for kind in slugs().values():
        assert getattr(client, kind.__name__) is kind
        assert kind.__name__ in client.__all__
        assert kind.__doc__


@pytest.mark.parametrize("slug", sorted(_rows()))
def test_a_problem_is_its_class_and_holds_all_members(slug: str) -> None:
    shown = {
        "type": f"urn:farpeek:problem:{slug}",
        "status": 400,
        "detail": "d",
        "hint": "h",
        "x": 1,
    }
    found = problem_of(shown, 2.0)
    assert type(found) is slugs()[slug]
    assert (found.slug, found.status, str(found), found.members["x"]) == (slug, 400, "d (h)", 1)
    assert (found.retryable, found.retry_after_s, found.title) == (False, 2.0, "")


def test_a_slug_that_is_not_known_yet_is_a_problem() -> None:
    found = problem_of({"type": "urn:farpeek:problem:new", "detail": "d"})
    assert type(found) is Problem
    assert (found.slug, found.status) == ("new", 0)


@pytest.mark.parametrize("shown", [None, [], {}, {"type": 1}, {"type": "about:blank"}])
def test_what_is_no_problem_of_farpeeks_is_a_bad_answer(shown: object) -> None:
    with pytest.raises(BadAnswer):
        problem_of(shown)


@pytest.mark.parametrize(
    "odd",
    [
        answer(200, b"<html>"),
        answer(200, b"[]"),
        answer(200, b'{"targets":{}}'),
        answer(200, b'{"targets":[{}]}'),
        answer(200, b"[" * 200_000),
        answer(200, b"{}", "application/json", "Content-Encoding: gzip"),
        answer(302, b"", "text/html", "Location: http://127.0.0.1:1/"),
        answer(500, b"<html>", "text/html"),
        answer(404, b'{"type":"about:blank"}', PROBLEM),
    ],
)
def test_what_answers_and_is_no_farpeek_is_told_from_one(
    connect: Callable[..., Client], folder: Path, odd: bytes
) -> None:
    with OddServer(folder / "s", odd) as server:
        with pytest.raises(BadAnswer):
            connect(f"unix:{server.path}").targets()
        assert len(server.heads) == 1


def test_all_members_that_a_service_of_another_version_lacks_are_named(
    connect: Callable[..., Client], folder: Path, target_json: bytes
) -> None:
    shown = json.loads(target_json)
    for name in ("comm", "page_size", "byte_order"):
        del shown[name]
    with (
        OddServer(folder / "s", answer(200, json.dumps(shown).encode())) as server,
        pytest.raises(BadAnswer, match=r"lacks `comm`, `byte_order`, `page_size`.*another version"),
    ):
        connect(f"unix:{server.path}").target(4)


def test_members_that_a_later_version_adds_are_kept(
    connect: Callable[..., Client], folder: Path, target_json: bytes
) -> None:
    with OddServer(folder / "s", answer(200, target_json)) as server:
        seen = connect(f"unix:{server.path}").target(4)
    assert seen.info.members["of_the_future"] == [1]


@pytest.mark.parametrize(
    "cut", [b"", b"HTTP/1.1 200", b"HTTP/1.1 200 OK\r\n", answer(200, b'{"api"', length=100)]
)
def test_a_server_that_closes_in_the_middle_of_its_answer_is_no_result(
    connect: Callable[..., Client], folder: Path, cut: bytes
) -> None:
    with OddServer(folder / "s", cut) as server, pytest.raises(Interrupted):
        connect(f"unix:{server.path}").info()


def test_an_answer_without_end_is_not_taken(connect: Callable[..., Client], folder: Path) -> None:
    refusal = answer(500, bytes(2 << 20))
    with (
        OddServer(folder / "s", refusal) as server,
        pytest.raises(BadAnswer, match="more than"),
    ):
        connect(f"unix:{server.path}").info()


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\0\0\0",
        b"\xff\xff\xff\xff{}",
        b"\0\0\0\2{}",
        b"\0\0\0\2[]",
    ],
)
def test_a_frame_that_is_none_is_a_bad_answer(
    connect: Callable[..., Client], folder: Path, target_json: bytes, frame: bytes
) -> None:
    odd = answer(200, frame, "application/vnd.farpeek.frame")
    with OddServer(folder / "s", answer(200, target_json), odd) as server:
        seen = connect(f"unix:{server.path}").target(4242)
        with pytest.raises(BadAnswer):
            seen.read(4096, 8)


@pytest.mark.parametrize(
    "changed",
    [
        {"requested": 7, "read": 7},
        {"read": 9},
        {"read": 3},
        {"read": True},
        {"requested": 16},
        {
            "gaps": [
                {
                    "region": 1,
                    "offset": 0,
                    "address": "0x0",
                    "length": 1,
                    "reason": "x",
                    "retryable": False,
                }
            ]
        },
        {
            "gaps": [
                {
                    "region": 0,
                    "offset": 0,
                    "address": 7,
                    "length": 1,
                    "reason": "x",
                    "retryable": False,
                }
            ]
        },
        {"backend": None},
    ],
)
def test_bytes_that_do_not_fit_what_is_said_of_them_are_not_believed(
    connect: Callable[..., Client],
    folder: Path,
    target_json: bytes,
    changed: dict[str, object],
) -> None:
    shown = {
        "target": "4242-1",
        "requested": 8,
        "read": 8,
        "gaps": [],
        "backend": {"pidfd": "native"},
        "generation": 1,
        "began_ns": 1,
        "elapsed_us": 1,
    }

    def frame(members: dict[str, object]) -> bytes:
        text = json.dumps(members).encode()
        return answer(200, len(text).to_bytes(4, "big") + text + bytes(8), "x/y")

    answers = [answer(200, target_json), frame(shown), frame({**shown, **changed})]
    with OddServer(folder / "s", *answers) as server:
        seen = connect(f"unix:{server.path}").target(4242)
        assert seen.read(4096, 8) == bytes(8)
        with pytest.raises(BadAnswer):
            seen.read(4096, 8)


BUSY = answer(
    429,
    b'{"type":"urn:farpeek:problem:too-busy","status":429,"detail":"d"}',
    PROBLEM,
    "Retry-After: 0",
)


def test_a_busy_service_is_asked_again_only_if_that_was_asked_for(
    connect: Callable[..., Client], folder: Path
) -> None:
    with OddServer(folder / "s", BUSY, answer(200, INFO)) as server:
        with pytest.raises(TooBusy) as caught:
            connect(f"unix:{server.path}").info()
        assert caught.value.retry_after_s == 0
        assert connect(f"unix:{server.path}", retries=1).info() == {"api": "v1"}


def test_a_busy_service_is_asked_so_many_times_and_no_more(
    connect: Callable[..., Client], folder: Path
) -> None:
    with OddServer(folder / "s", BUSY, BUSY, BUSY, answer(200, INFO)) as server:
        with pytest.raises(TooBusy):
            connect(f"unix:{server.path}", retries=2).info()
        assert len(server.heads) == 3


# httpcore2 leaves a socket that could not connect to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_socket_that_nobody_listens_on_any_more_is_told_with_the_cure(
    connect: Callable[..., Client], folder: Path
) -> None:
    peek = connect(f"unix:{folder}/none")
    with pytest.raises(Unreachable, match="start `farpeek serve`"):
        peek.info()


def test_a_wrong_token_is_refused(
    connect: Callable[..., Client], served: Served, sample: Sample
) -> None:
    for token in ("wrong", "x" * 200):
        with pytest.raises(Unauthenticated):
            connect(f"unix:{served.path}", token=token).target(sample.pid)
