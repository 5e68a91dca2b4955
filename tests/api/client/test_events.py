"""Events by the client: none twice, none left out without a word, also across a restart."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import pytest

from farpeek_api.client import Interrupted, Unreachable
from support import targets
from support.odd_server import OddServer, answer
from support.wire import Served

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from farpeek_api.client import Client


def test_events_are_told_in_their_order(peek: Client) -> None:
    with targets.start("plain") as plain:
        seen = peek.target(plain.pid)
        happened = peek.events(seen, after=0)
        first = next(event for event in happened if event.kind != "lost")
        assert first.kind == "registered"
        assert first.target is not None
        assert first.target.id == seen.id
        plain.send("exit 7")
        plain.reap()
        second = next(happened)
        assert second.kind in ("exited", "reaped")
        assert first.number is not None
        assert second.number is not None
        assert second.number > first.number
        happened.close()


def test_what_is_not_known_any_more_is_told_as_lost(peek: Client) -> None:
    happened = peek.events(after=1)
    assert next(happened).kind == "lost"
    happened.close()


# httpcore2 leaves a socket that could not connect to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_events_go_on_with_a_service_that_was_started_again(
    connect: Callable[..., Client], folder: Path
) -> None:
    with targets.start("plain") as one, targets.start("plain") as other:
        with Served(folder) as service:
            peek = connect(f"unix:{service.path}")
            first = peek.target(one.pid)
            happened = peek.events(after=0)
            told = next(event for event in happened if event.kind == "registered")
            assert told.target is not None
            assert told.target.id == first.id
            service.stop()
        with Served(folder) as service:
            second = peek.target(other.pid)
            after = [next(happened)]
            while after[-1].kind != "registered":
                after.append(next(happened))
            assert after[-1].target is not None
            assert after[-1].target.id == second.id
            # The first service's end, and what the second one cannot know.
            assert "lost" in [event.kind for event in after]
            happened.close()


def test_events_that_could_not_be_told_apart_are_lost(
    connect: Callable[..., Client], folder: Path
) -> None:
    silent = answer(200, b": events follow\n\n", "text/event-stream")
    more = answer(200, b'id: 7\nevent: lost\ndata: {"after":1}\n\n', "text/event-stream")
    with OddServer(folder / "s", silent, more) as server:
        happened = connect(f"unix:{server.path}").events()
        first = next(happened)
        assert (first.kind, first.number) == ("lost", None)
        assert next(happened).number == 7
        happened.close()
        assert b"last-event-id" not in server.heads[1].lower()


def test_a_stream_is_taken_up_behind_the_last_event(
    connect: Callable[..., Client], folder: Path
) -> None:
    one = answer(200, b"id: 7\nevent: lost\ndata: {}\n\nid: 9\nevent: lo", "text/event-stream")
    with OddServer(folder / "s", one, one) as server:
        happened = connect(f"unix:{server.path}").events()
        assert [next(happened).number, next(happened).number] == [7, 7]
        happened.close()
        assert b"last-event-id: 7" in server.heads[1].lower()


# httpcore2 leaves a socket that could not connect to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_events_end_where_no_service_comes_back(
    connect: Callable[..., Client], folder: Path
) -> None:
    with Served(folder) as service, targets.start("plain") as plain:
        peek = connect(f"unix:{service.path}")
        peek.target(plain.pid)
        happened = peek.events(after=0, patience_s=0.2)
        next(happened)
        service.end()
        with pytest.raises((Unreachable, Interrupted)):
            deque(happened, 0)


def test_events_of_nobody_are_an_error_at_once(
    connect: Callable[..., Client], folder: Path
) -> None:
    with OddServer(folder / "s", b"") as server, pytest.raises(Interrupted):
        next(connect(f"unix:{server.path}").events())
