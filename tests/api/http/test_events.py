"""The stream of events: from now on or from a number on, with what was lost said so."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.sample import Sample
from support.waiting import until
from support.wire import Events

if TYPE_CHECKING:
    from support.wire import Served


def lives_of(served: Served) -> str:
    """Let a process be registered, exit and be released; its target's id."""
    with Sample() as process:
        target = served.register(process.pid)
        process.exit(7)
    path = f"/v1/targets/{target}"
    until(lambda: served.request("GET", path).json["state"] == "reaped", "it is reaped")
    served.request("DELETE", path)
    return target


def test_a_life_is_told_from_registration_to_release(served: Served) -> None:
    with Events(served.path) as events:
        target = lives_of(served)
        told = [events.next() for _ in range(4)]
    assert [kind for _, kind, _ in told] == ["registered", "exited", "reaped", "released"]
    assert {data["target"]["id"] for _, _, data in told} == {target}
    assert all(data["at"].endswith("Z") for _, _, data in told)
    numbers = [number for number, _, _ in told]
    assert numbers == list(range(numbers[0], numbers[0] + 4))
    assert told[1][2]["target"]["state"] == "exited"
    assert told[2][2]["target"]["state"] == "reaped"


def test_the_answer_begins_at_once_with_a_comment(served: Served) -> None:
    with Events(served.path) as events:
        assert events.response.getheader("Content-Type") == "text/event-stream"
        assert events.response.getheader("Cache-Control") == "no-store"
        assert events.next_block()[0].startswith(":")


def test_a_client_goes_on_where_it_was(served: Served) -> None:
    with Events(served.path) as events:
        lives_of(served)
        told = [events.next() for _ in range(4)]
    with Events(served.path, last_id=str(told[0][0])) as events:
        assert [events.next() for _ in range(3)] == told[1:]


def test_only_the_wanted_target_is_told(served: Served) -> None:
    with Sample() as process:
        wanted = served.register(process.pid)
        with Events(served.path, f"?target={wanted}") as events:
            lives_of(served)
            served.request("DELETE", f"/v1/targets/{wanted}")
            _, kind, data = events.next()
        assert (kind, data["target"]["id"]) == ("released", wanted)


def test_what_is_lost_is_said_and_what_is_left_follows(served: Served) -> None:
    with Events(served.path) as events:
        lives_of(served)
        newest = [events.next() for _ in range(4)][-1]
    with Events(served.path, last_id="17") as events:
        number, kind, data = events.next()
        assert (kind, data["after"]) == ("lost", 17)
        first, _, _ = events.next()
        assert first == data["continues_at"] == number + 1
        while events.next() != newest:
            pass


def test_a_number_from_the_future_is_lost_too(served: Served) -> None:
    with Events(served.path, last_id=str(2**63)) as events:
        assert events.next()[1] == "lost"


@pytest.mark.parametrize("text", ["abc", "-1", "1.5", "9" * 40])
def test_a_last_id_that_is_no_number_is_invalid(served: Served, text: str) -> None:
    reply = served.request("GET", "/v1/events", headers={"Last-Event-ID": text})
    assert (reply.status, reply.slug, reply.places) == (422, "invalid", ["Last-Event-ID"])


def test_the_stream_is_for_who_takes_it(served: Served) -> None:
    reply = served.request("GET", "/v1/events", headers={"Accept": "application/json"})
    assert (reply.status, reply.slug) == (406, "not-acceptable")


def test_over_http_1_0_the_stream_is_not_chunked(served: Served) -> None:
    with served.connect() as sock:
        sock.sendall(b"GET /v1/events HTTP/1.0\r\nHost: localhost\r\nLast-Event-ID: 1\r\n\r\n")
        received = b""
        while b"event: lost" not in received:
            received += sock.recv(65536)
    assert b"chunked" not in received
