"""A linked list in no order: by one plan, by a C loop, and node by node over HTTP."""

from __future__ import annotations

import json
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Final

from bench import processes, wire
from bench.cases.many_targets import UnixConnection
from bench.framework import Case, Comparison, Prepared, median_us, timed
from bench.processes import NATIVE, Native

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bench.framework import Figures

_NODES = 10_000
_BY_HTTP = 300
_SIZE, _NEXT = 56, 16
_COUNT = 15
_FRAME: Final = {"Accept": "application/vnd.farpeek.frame"}
_LISTS: Path = NATIVE.parent.parent / "tests" / "targets" / "lists.c"
_NODE = "a node"
_PLAN, _NOWAIT, _JSON, _C, _HTTP = "plan", "plan, nowait", "plan, JSON", "C loop", "node by node"


@contextmanager
def _prepare() -> Iterator[Prepared]:
    with ExitStack() as stack:
        target = stack.enter_context(Native(_LISTS, _NODES))
        server = stack.enter_context(processes.service())
        connection = stack.enter_context(server.connect())
        head = target.numbers["nodes"]
        target_id = connection.register(target.pid)
        link = stack.enter_context(closing(UnixConnection(server.path)))
        path = f"/v1/targets/{target_id}/plan"
        bodies = {mode: _plan(head, mode) for mode in ("wait", "nowait")}
        found = json.loads(link.post(path, bodies["wait"], {}))["steps"]["nodes"]
        assert found["columns"]["value"] == list(range(_NODES))  # noqa: S101
        follow = stack.enter_context(Native(NATIVE / "follow.c", target.pid, head, _SIZE, _NEXT))

        def by_plan(mode: str, headers: dict[str, str]) -> Figures:
            ask = partial(link.post, path, bodies[mode], headers)
            return {_NODE: median_us(timed(ask, _COUNT)) / _NODES}

        def by_c() -> Figures:
            return {_NODE: int(follow.command(str(_COUNT))) / 1000 / _NODES}

        def node_by_node() -> None:
            at = head
            for _ in range(_BY_HTTP):
                frame = bytes(connection.ask(wire.framed(target_id, [at], _SIZE)))
                content = wire.frame_content(frame)
                at = int.from_bytes(content[_NEXT : _NEXT + 8], "little")

        def by_http() -> Figures:
            return {_NODE: median_us(timed(node_by_node, 3)) / _BY_HTTP}

        yield Prepared(
            {
                _PLAN: partial(by_plan, "wait", _FRAME),
                _NOWAIT: partial(by_plan, "nowait", _FRAME),
                _JSON: partial(by_plan, "wait", {}),
                _C: by_c,
                _HTTP: by_http,
            },
            [
                Comparison(_NODE, "us", _PLAN, _C, at_most=3),
                Comparison(_NODE, "us", _NOWAIT, _C),
                Comparison(_NODE, "us", _JSON, _C),
                Comparison(_NODE, "us", _HTTP, _PLAN),
            ],
        )


def _plan(head: int, mode: str) -> bytes:
    fields = {"value": [0, "u64"], "next": [_NEXT, "pointer"]}
    listed = {"id": "nodes", "list": "node", "at": hex(head), "next": "next", "max": 1 << 20}
    return json.dumps(
        {
            "types": {"node": {"size": _SIZE, "fields": fields}},
            "steps": [listed],
            "mode": mode,
            "limits": {"reads": 1 << 20, "bytes": 16 << 20, "rounds": 1 << 20, "rows": 1 << 20},
        }
    ).encode()


CASE = Case(
    "plan",
    f"a list of {_NODES} nodes of {_SIZE} B in no order, over the unix socket; against a C loop of "
    "process_vm_readv, node by node",
    _prepare,
)
