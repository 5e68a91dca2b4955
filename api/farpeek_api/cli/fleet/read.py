"""`farpeek fleet read`: the bytes at an address of all processes that fit, on many nodes."""

from __future__ import annotations

import base64
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, NamedTuple

from farpeek_api.cli import parsers, statuses
from farpeek_api.cli.errors import CommandError, WrongWord
from farpeek_api.cli.fleet import asking
from farpeek_api.cli.show.hexdump import Grouping, Hexdump
from farpeek_api.cli.show.terminal import Style
from farpeek_api.cli.space import Space
from farpeek_api.cli.words import amounts
from farpeek_api.client.problems import PeekError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from farpeek_api.cli.fleet.asking import FleetSession
    from farpeek_api.client import Client, Process, ReadResult

_AT_ONCE: Final = 8
_MOST: Final = 1024
"""Processes that are read."""
_LONGEST: Final = 1 << 20
_MOST_BYTES: Final = 64 << 20
"""Of all of them."""


class _Read(NamedTuple):
    node: str
    process: Process
    address: int = 0
    result: ReadResult | None = None
    problem: str = ""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add what it takes."""
    parser.add_argument(
        "match",
        metavar="MATCH",
        help="comm=NAME, exe=*/NAME, uid=N, container=ID*, cgroup=PATH, several of them with "
        "commas between: each process that fits is registered on the way",
    )
    parsers.address(parser)
    parser.add_argument(
        "length", metavar="LENGTH", type=parsers.word(amounts.length), help="in bytes: 64, 0x40, 4K"
    )
    parsers.mode(parser)
    asking.arguments(parser)


def run(chosen: argparse.Namespace) -> int:
    """Read, and show what came."""
    return asking.run("read", chosen, _read)


def _read(session: FleetSession) -> int:
    word = session.chosen.match
    found = _found(session)
    reads = _reads(session, found)
    if session.chosen.json:
        session.json({"reads": [_members(read) for read in reads], **session.told})
    for read in reads:
        if read.problem:
            session.complain(f"{read.node}: pid {read.process.pid}: {read.problem}")
    if not found and session.answered:
        session.complain(f"no process fits {word!r}")
        return session.finish(statuses.NO_TARGET)
    is_whole = all(read.result is not None and read.result.complete for read in reads)
    return session.finish(statuses.DONE if is_whole else statuses.INCOMPLETE)


def _found(session: FleetSession) -> list[tuple[str, Process]]:
    """Find the processes. Raises WrongWord for what would be too much."""
    length: int = session.chosen.length
    if length > _LONGEST:
        raise WrongWord(f"{length} bytes are too many: up to {_LONGEST} of each process")
    found: list[tuple[str, Process]] = []
    for each in session.processes(session.chosen.match):
        found += [(each.node, one) for one in each.value or ()]
    most = min(_MOST, _MOST_BYTES // length) if length else _MOST
    if len(found) > most:
        cure = "ask fewer nodes with --limit or --label, or read less"
        raise WrongWord(f"{len(found)} processes fit, and {most} are read at most: {cure}")
    return sorted(found, key=lambda pair: (pair[0], pair[1].pid))


def _reads(session: FleetSession, found: Sequence[tuple[str, Process]]) -> list[_Read]:
    """Read them, several at a time, and show each as soon as all before it are shown."""
    services = {node: session.fleet.node(node) for node, _ in found}

    def one(pair: tuple[str, Process]) -> _Read:
        return _one(session, services[pair[0]], *pair)

    reads: list[_Read] = []
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for read in pool.map(one, found):
            reads.append(read)
            if not session.chosen.json:
                _show(session, read)
    return reads


def _one(session: FleetSession, peek: Client, node: str, process: Process) -> _Read:
    """Read one process; what stands against that is told of in its place."""
    chosen = session.chosen
    try:
        target = peek.target(process.pid)
        if target.info.process.start_time != process.start_time:
            return _Read(node, process, problem="it has ended, and its number is another's")
        address = Space(target, chosen.mode).address(chosen.address)
        result = target.readv([(address, chosen.length)], mode=chosen.mode)
    except (CommandError, PeekError) as error:
        return _Read(node, process, problem=str(error))
    return _Read(node, process, address, result)


def _show(session: FleetSession, read: _Read) -> None:
    if read.result is None:
        return
    terminal = session.terminal
    head = f"{terminal.name(read.node, Style.HEAD)}  pid {read.process.pid}  "
    terminal.line(head + terminal.name(read.process.comm))
    form = Hexdump(Grouping())
    terminal.texts(form.begin(terminal, read.address, len(read.result.data)))
    terminal.texts(form.part(read.result.data, read.result.gaps))
    terminal.texts(form.end())


def _members(read: _Read) -> dict[str, object]:
    about: dict[str, object] = {"node": read.node, "pid": read.process.pid}
    about["comm"] = read.process.comm
    if read.result is None:
        return {**about, "problem": read.problem}
    data = base64.b64encode(read.result.data).decode()
    return {**about, **read.result.members, "address": hex(read.address), "data": data}
