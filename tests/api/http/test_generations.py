"""execve as clients see it: numbers of programs, events, and refusals of those who mean another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support.targets import start
from support.websocket import WebSocket
from support.wire import Events

if TYPE_CHECKING:
    from support.sample import Sample
    from support.wire import Served

TICKS = 300


def test_a_subscription_gives_no_value_of_one_program_under_the_number_of_another(
    served: Served,
) -> None:
    with start("execs") as target, WebSocket(served.connect()) as ws:
        wanted = {
            "target": served.register(target.pid),
            "addresses": [target["marker"]],
            "lengths": 8,
            "hz": 100,
        }
        assert ws.ask({"id": 1, "subscribe": wanted})[0]["subscribed"]
        markers: dict[int, int] = {}
        for _ in range(TICKS):
            shown, data = ws.next()
            marker = int.from_bytes(data, "little")
            if marker:  # there is none before it is mapped and written
                assert markers.setdefault(shown["generation"], marker) == marker
                assert markers[max(markers)] == max(markers.values())
        assert len(markers) > 3


def test_whoever_means_another_program_gets_409_by_every_way(
    served: Served, target: str, sample: Sample
) -> None:
    reply = served.read(target, sample.address, 8, generation=1)
    assert (reply.status, reply.json["generation"]) == (200, 1)
    reply = served.read(target, sample.address, 8, generation=2)
    assert (reply.status, reply.slug, reply.json["generation"]) == (409, "target-changed", 1)
    path = f"/v1/targets/{target}/memory"
    span = {"Range": f"bytes={sample.address}-{sample.address + 7}"}
    assert served.request("HEAD", path, headers=span).headers["farpeek-generation"] == "1"
    assert served.request("GET", f"{path}?generation=2", headers=span).slug == "target-changed"
    with WebSocket(served.connect()) as ws:
        wanted = {"target": target, "addresses": [sample.address], "lengths": 8, "hz": 100}
        ws.ask({"id": 1, "subscribe": {**wanted, "generation": 2}})
        assert ws.next()[0] == {"id": 1, "ended": "target-changed"}


def test_an_execve_is_an_event_and_counts_in_the_target(served: Served) -> None:
    with Events(served.path) as events, start("execs") as target:
        target_id = served.register(target.pid)
        kinds: list[str] = []
        generations: list[int] = []
        while kinds.count("exec") < 3:
            _, kind, data = events.next()
            if data["target"]["id"] == target_id:
                kinds.append(kind)
                generations.append(data["target"]["generation"])
        assert kinds == ["registered", "exec", "exec", "exec"]
        assert generations == sorted(set(generations))
        shown = served.request("GET", f"/v1/targets/{target_id}").json
        assert shown["generation"] >= generations[-1]
