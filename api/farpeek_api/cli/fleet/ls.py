"""`farpeek fleet ls`: the nodes, and what each of them is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from farpeek_api.cli import statuses
from farpeek_api.cli.errors import WrongWord
from farpeek_api.cli.fleet import asking
from farpeek_api.cli.show.table import Cell, Column, table
from farpeek_api.cli.show.terminal import Style
from farpeek_api.client.members import mapping

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from farpeek_api.cli.fleet.asking import FleetSession
    from farpeek_api.client.node_answers import NodeInfo

_COLUMNS: Final = (
    Column("node", least=8),
    Column("state"),
    Column("last seen", 3),
    Column("version", 2),
    Column("kernel", 4, least=10),
    Column("arch", 5),
    Column("labels", 2, least=10),
    Column("not native", 1, least=12),
)
_NATIVE: Final = "native"
_UP: Final = "up"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add what it takes."""
    asking.arguments(parser)


def run(chosen: argparse.Namespace) -> int:
    """List them."""
    return asking.run("ls", chosen, _list)


def _list(session: FleetSession) -> int:
    choice = session.choice
    limit = choice.pop("limit")
    try:
        nodes = session.fleet.nodes(**choice)[:limit]
    except ValueError as error:
        raise WrongWord(str(error)) from None
    up = [each.name for each in nodes if each.state == _UP]
    infos: dict[str, Mapping[str, Any]] = {}
    if up:
        asked = session.asked(
            lambda: session.fleet.ask("info", nodes=up, timeout_s=choice["timeout_s"])
        )
        infos = {each.node: mapping(each.value) or {} for each in asked}
    for each in nodes:
        if each.state != _UP:
            session.silent.append(each.name)
            session.problems.append((each.name, _why(each), statuses.FAILED))
    if session.chosen.json:
        found = [_members(each, infos.get(each.name, {})) for each in nodes]
        session.json({"nodes": found, **session.told})
    else:
        rows = [_row(each, infos.get(each.name, {})) for each in nodes]
        session.terminal.lines(table(session.terminal, _COLUMNS, rows))
    return session.finish()


def _why(node: NodeInfo) -> str:
    if node.state == "silent":
        return "its agent is connected, or was a moment ago, and does not answer"
    return "it is not connected" + (f": it was seen at {_seen(node)}" if node.last_seen else "")


def _seen(node: NodeInfo) -> str:
    return node.last_seen.strftime("%Y-%m-%dT%H:%M:%SZ") if node.last_seen else ""


def _provided(info: Mapping[str, Any]) -> dict[str, list[str]]:
    """Say what the service cannot do natively there, by how else it does."""
    capabilities = mapping(info.get("capabilities")) or {}
    found: dict[str, list[str]] = {}
    for name, each in sorted(capabilities.items()):
        how = (mapping(each) or {}).get("provided")
        if isinstance(how, str) and how != _NATIVE:
            found.setdefault(how, []).append(name)
    return found


def _members(node: NodeInfo, info: Mapping[str, Any]) -> dict[str, object]:
    return {
        "node": node.name,
        "state": node.state,
        "last_seen": _seen(node) or None,
        "labels": dict(node.labels),
        **{name: node.text(name) or None for name in ("version", "kernel", "architecture", "host")},
        "not_native": _provided(info),
    }


def _row(node: NodeInfo, info: Mapping[str, Any]) -> tuple[Cell, ...]:
    is_up = node.state == _UP
    provided = "; ".join(f"{how}: {' '.join(names)}" for how, names in _provided(info).items())
    return (
        Cell(node.name, Style.HEAD),
        Cell(node.state, Style.GOOD if is_up else Style.BAD),
        Cell("now" if is_up else _seen(node)),
        Cell(node.text("version")),
        Cell(node.text("kernel")),
        Cell(node.text("architecture")),
        Cell(" ".join(f"{k}={v}" for k, v in node.labels.items())),
        Cell(provided),
    )
