"""Plans over a stream, once and at each tick."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from support.plan_columns import column
from support.targets import Target, start
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.websocket import WebSocket
    from support.wire import Served

COUNT = 40


@pytest.fixture
def lists() -> Iterator[Target]:
    with start("lists", COUNT) as process:
        yield process


def plan(at: int, most: int = 1000) -> dict[str, Any]:
    node = {"size": 56, "fields": {"value": [0, "u64"], "next": [16, "pointer"]}}
    head = {"id": "head", "chain": at, "offsets": [0, 0]}
    listed = {"id": "nodes", "list": "node", "at": "$head", "next": "next", "max": most}
    return {"types": {"node": node}, "steps": [head, listed]}


def values(shown: Any, data: bytes) -> list[Any]:  # noqa: ANN401 - JSON
    return column(shown["steps"]["nodes"]["columns"]["value"], data)


def test_a_plan_is_answered_under_its_id(served: Served, lists: Target, ws: WebSocket) -> None:
    target = served.register(lists.pid)
    message = {"id": 7, "target": target, "plan": plan(lists["left"])}
    shown, data = ws.ask(message)
    assert (shown["id"], shown["target"], shown["generation"]) == (7, target, 1)
    assert values(shown, data) == list(range(64))
    assert shown["steps"]["nodes"]["stopped"] == [None]
    over_http = served.request(
        "POST",
        f"/v1/targets/{target}/plan",
        plan(lists["left"]),
        {"Accept": "application/vnd.farpeek.frame"},
    )
    assert over_http.body.endswith(data)


def test_a_subscription_does_its_plan_at_each_tick(
    served: Served, lists: Target, ws: WebSocket
) -> None:
    target = served.register(lists.pid)
    sampling = {"target": target, "hz": 100, "plan": plan(lists["left"]), "mode": "nowait"}
    assert ws.ask({"id": 1, "subscribe": sampling})[0]["subscribed"]
    ticks: list[int] = []
    while len(ticks) < 20:
        shown, data = ws.next()
        assert values(shown, data) == list(range(64))
        assert shown["dropped"] == sum(shown["dropped_by"].values())
        ticks.append(shown["tick"])
    assert ticks == sorted(set(ticks))
    lists.end()
    while "ended" not in (shown := ws.next()[0]):
        pass
    assert shown == {"id": 1, "ended": "target-exited"}


def test_what_has_not_changed_is_not_sent_again(
    served: Served, lists: Target, ws: WebSocket
) -> None:
    target = served.register(lists.pid)
    sampling = {"target": target, "hz": 100, "plan": plan(lists["left"], 5), "changed_only": True}
    # Not by `ask`: the first frame of the one may come before the other is answered.
    ws.send({"id": 1, "subscribe": sampling})
    ws.send({"id": 2, "subscribe": {**sampling, "changed_only": False}})
    frames = {1: 0, 2: 0}
    while frames[2] < 10:
        shown, _ = ws.next()
        frames[shown["id"]] += "tick" in shown
    assert frames[1] == 1
    lists.command("swap")

    def has_changed() -> bool:
        frames[ws.next()[0]["id"]] += 1
        return frames[1] > 3

    until(has_changed, "what changes is sent")
    lists.command("rest")


def test_a_match_is_sampled_by_one_plan(served: Served, ws: WebSocket) -> None:
    with start("lists", COUNT) as one, start("lists", COUNT) as other:
        reply = served.request("POST", "/v1/matches", {"match": {"comm": "lists"}})
        match = reply.json["id"]
        step = {"id": "a", "cstring": 8, "at": 1}
        sampling = {"match": match, "hz": 50, "plan": {"steps": [step]}}
        ws.ask({"id": 1, "subscribe": sampling})
        seen: set[str] = set()
        ids = {served.register(one.pid), served.register(other.pid)}
        while not ids <= seen:
            shown, _ = ws.next()
            assert shown["steps"]["a"]["stopped"] == ["gap"]
            seen.add(shown["target"])
        served.request("DELETE", f"/v1/matches/{match}")


@pytest.mark.parametrize(
    ("message", "kind", "place"),
    [
        ({"id": 1, "plan": {"steps": []}}, "plan", "plan.steps"),
        (
            {"id": 1, "plan": {"steps": [{"id": "a", "read": "no", "at": 0}]}},
            "plan",
            "steps[0].read",
        ),
        (
            {"id": 1, "subscribe": {"hz": 1, "plan": {"steps": []}}},
            "subscribe",
            "subscribe.plan.steps",
        ),
        (
            {"id": 1, "subscribe": {"hz": 1, "plan": {}, "addresses": [1]}},
            "subscribe",
            "subscribe.addresses",
        ),
    ],
)
def test_what_is_wrong_with_a_plan_is_told(
    served: Served, lists: Target, ws: WebSocket, message: dict[str, Any], kind: str, place: str
) -> None:
    target = served.register(lists.pid)
    where = message.get("subscribe", message)
    shown, _ = ws.ask({**message, **({"subscribe": {**where, "target": target}}
                                     if kind == "subscribe" else {"target": target})})  # fmt: skip
    assert (shown["id"], shown["of"]) == (1, kind)
    places = [each["place"] for each in shown["problem"]["errors"]]
    assert place in places, shown
