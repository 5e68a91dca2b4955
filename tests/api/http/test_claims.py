"""Each client has a claim on a target, with labels of its own; the target goes with the last."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.sample import Sample
from support.websocket import WebSocket
from support.wire import Events, Served

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.wire import Reply


@pytest.fixture
def shared(folder: Path) -> Iterator[Served]:
    """Run a service with two tokens; without one, the caller is root."""
    tokens = folder / "given"
    tokens.write_text("one\ntwo\n")
    tokens.chmod(0o600)
    with Served(folder, "--token-file", str(tokens)) as service:
        yield service


@pytest.fixture
def process() -> Iterator[Sample]:
    with Sample() as started:
        yield started


def bearer(token: str | None) -> dict[str, str]:
    return {} if token is None else {"Authorization": f"Bearer {token}"}


def register(served: Served, token: str | None, pid: int, **members: object) -> Reply:
    return served.request("POST", "/v1/targets", {"pid": pid, **members}, bearer(token))


def shown(served: Served, token: str | None, target: str) -> Reply:
    return served.request("GET", f"/v1/targets/{target}", headers=bearer(token))


def release(served: Served, token: str | None, target: str, query: str = "") -> int:
    path = f"/v1/targets/{target}{query}"
    return served.request("DELETE", path, headers=bearer(token)).status


def test_each_client_has_labels_of_its_own(shared: Served, process: Sample) -> None:
    first = register(shared, "one", process.pid, labels={"app": "one"})
    second = register(shared, "two", process.pid, labels={"app": "two"})
    assert (first.status, second.status) == (201, 200)
    assert second.json["labels"] == {"app": "two"}
    target = first.json["id"]
    assert shown(shared, "one", target).json["labels"] == {"app": "one"}
    assert shown(shared, None, target).json["labels"] == {}
    for token, app in (("one", "one"), ("two", "two")):
        for label, found in ((f"app={app}", [target]), ("app=none", [])):
            listed = shared.request("GET", f"/v1/targets?label={label}", headers=bearer(token))
            assert [each["id"] for each in listed.json["targets"]] == found


def test_a_release_drops_the_client_s_own_claim(shared: Served, process: Sample) -> None:
    target = register(shared, "one", process.pid, labels={"app": "one"}).json["id"]
    register(shared, "two", process.pid)
    assert release(shared, None, target) == 404
    assert release(shared, "two", target) == 204
    assert release(shared, "two", target) == 404
    assert shown(shared, "two", target).json["state"] == "running"
    assert shown(shared, "one", target).json["labels"] == {"app": "one"}
    assert release(shared, "one", target) == 204
    assert shown(shared, "one", target).status == 404


def test_all_claims_can_be_dropped_at_once(shared: Served, process: Sample) -> None:
    target = register(shared, "one", process.pid).json["id"]
    register(shared, "two", process.pid)
    assert release(shared, None, target, "?all=true") == 204
    assert shown(shared, "one", target).status == 404
    assert release(shared, None, target, "?all=true") == 404


def test_labels_are_told_in_events_to_their_client(shared: Served, process: Sample) -> None:
    register(shared, "two", process.pid, labels={"app": "two"})
    with Events(shared.path) as events:
        target = register(shared, None, process.pid, labels={"app": "root"}).json["id"]
        release(shared, "two", target)
        release(shared, None, target)
        _, kind, data = events.next()
    assert (kind, data["target"]["labels"]) == ("released", {"app": "root"})


def test_a_target_that_has_exited_shows_the_labels_of_who_asks(
    shared: Served, process: Sample
) -> None:
    target = register(shared, "one", process.pid, labels={"app": "one"}).json["id"]
    process.exit(0)
    shared.request("GET", f"/v1/targets/{target}?wait=exit")
    body = {"addresses": [1], "lengths": 1}
    for token, labels in (("one", {"app": "one"}), ("two", {})):
        reply = shared.request("POST", f"/v1/targets/{target}/readv", body, bearer(token))
        assert (reply.status, reply.json["target"]["labels"]) == (410, labels)


def test_a_subscription_holds_its_target(shared: Served, process: Sample) -> None:
    target = register(shared, None, process.pid).json["id"]
    with WebSocket(shared.connect()) as ws:
        sampling = {"target": target, "addresses": [process.address], "lengths": 1, "hz": 1000}
        ws.ask({"id": 1, "subscribe": sampling})
        assert release(shared, None, target) == 204
        assert shown(shared, None, target).json["state"] == "running"
        assert release(shared, None, target) == 404
        ws.send({"unsubscribe": 1})
        while "tick" in (told := ws.next()[0]):
            pass
        assert told == {"id": 1, "ended": "unsubscribed"}
    assert shown(shared, None, target).status == 404


def test_the_end_of_a_subscription_leaves_what_has_exited_in_the_list(
    shared: Served, process: Sample
) -> None:
    target = register(shared, None, process.pid).json["id"]
    with WebSocket(shared.connect()) as ws:
        sampling = {"target": target, "addresses": [process.address], "lengths": 1, "hz": 0.001}
        ws.ask({"id": 1, "subscribe": sampling})
        release(shared, None, target)
        process.exit(0)
        while "tick" in (told := ws.next()[0]):
            pass
        assert told == {"id": 1, "ended": "target-exited"}
    assert shown(shared, None, target).json["exited_at"] is not None
