"""Subscriptions that tick together: each has its own bytes, and no end of one costs the others."""

from __future__ import annotations

import re
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from support.targets import start
from support.waiting import until
from support.websocket import WebSocket
from support.wire import Served

if TYPE_CHECKING:
    from support.targets import Target

TARGETS = 20
FRAMES = 400

KINDS: tuple[dict[str, Any], ...] = (
    {},
    {"mode": "nowait"},
    {"mode": "nowait", "prefetch": True},
    {"changed_only": True},
    {"lengths": [0, 8]},
)


def subscribed(number: int, target: str, marker: int, kind: dict[str, Any]) -> dict[str, Any]:
    regions = [marker] * len(kind.get("lengths", [8]))
    wanted = {"target": target, "addresses": regions, "lengths": 8, "hz": 100, **kind}
    return {"id": number, "subscribe": wanted}


def number(served: Served, name: str) -> float:
    found = re.search(
        rf"^{name} (\S+)", served.request("GET", "/metrics").body.decode(), re.MULTILINE
    )
    assert found is not None, name
    return float(found[1])


def page_tables(served: Served) -> int:
    """How many of them the service has open."""
    count = 0
    for entry in Path(f"/proc/{served.process.pid}/fd").iterdir():
        with suppress(OSError):
            count += entry.readlink().name == "pagemap"
    return count


def test_streams_that_close_in_a_beat_under_targets_that_end_leave_nothing(folder: Path) -> None:
    with ExitStack() as stack:
        served = stack.enter_context(Served(folder))
        targets = [stack.enter_context(start("plain", "--marker", n)) for n in range(TARGETS)]
        ids = [served.register(each.pid) for each in targets]
        ended: list[Target] = []
        for turn in range(6):
            with WebSocket(served.connect()) as ws:
                for n, (target_id, each) in enumerate(zip(ids, targets, strict=True)):
                    ws.send(subscribed(n, target_id, each["marker"], KINDS[(n + turn) % 5]))
                for count in range(FRAMES):
                    shown, data = ws.next()
                    if "tick" in shown:
                        assert int.from_bytes(data, "little") == shown["id"], shown
                        assert shown["target"] == ids[shown["id"]]
                    if count == FRAMES // 2:
                        ended.append(targets[turn])
                        ended[-1].kill()
            # Closed while the others tick: nobody has been told.
        for name in ("farpeek_stream_subscriptions", "farpeek_inflight_bytes"):
            until(lambda n=name: number(served, n) == 0, f"nothing is left of {name}")  # type: ignore[misc]  # bound now
        left = TARGETS - len(ended)
        until(lambda: page_tables(served) == left, "those of the ended are closed")
