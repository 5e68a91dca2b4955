"""`farpeek telescope`: pointers followed from an address on, as debuggers' plugins do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from farpeek_api.cli import chains, parsers, statuses
from farpeek_api.cli.errors import WrongWord
from farpeek_api.cli.places import Places
from farpeek_api.cli.show.escape import safe
from farpeek_api.cli.show.reasons import explained
from farpeek_api.cli.show.terminal import Style
from farpeek_api.cli.space import Space
from farpeek_api.cli.words.amounts import ADDRESS_LIMIT
from farpeek_api.client import calls

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from farpeek_api.cli.chains import Chain, Link
    from farpeek_api.cli.session import Session
    from farpeek_api.cli.show.terminal import Terminal

_MOST: Final = 4096


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    parsers.target(parser)
    parsers.address(parser)
    parser.add_argument(
        "-n",
        "--count",
        metavar="N",
        type=parsers.whole(1, _MOST),
        default=8,
        help="how many pointers from there on (default: 8)",
    )
    parsers.mode(parser)
    parsers.common(parser)


def run(session: Session) -> int:
    """Show a line for each pointer: where it leads, and where that leads."""
    chosen = session.chosen
    target = session.target()
    space = Space(target, chosen.mode)
    address = space.address(chosen.address)
    size = target.info.pointer_size
    if address + chosen.count * size > ADDRESS_LIMIT:
        raise WrongWord(f"{chosen.count} pointers from {address:#x} on go past 2^64")
    if chosen.curl:
        region = address, chosen.count * size
        session.curl(calls.readv_in_json(target.id, [region], {"mode": chosen.mode}))
        session.complain("what these pointers lead to is read by further calls like it")
        return statuses.DONE
    found = chains.follow(target, Places(space), address, chosen.count, chosen.mode)
    if chosen.json:
        session.json({"target": target.id, "chains": [each.json() for each in found]})
    else:
        session.terminal.lines(_line(session.terminal, each, address) for each in found)
    return statuses.INCOMPLETE if any(each.missing for each in found) else statuses.DONE


def _line(terminal: Terminal, chain: Chain, start: int) -> str:
    where = terminal.paint(f"{chain.address:#x}", Style.FAINT)
    links = [*(_link(terminal, each) for each in chain.links), *_end(terminal, chain)]
    return f"{where} + {chain.address - start:#05x}: {' -> '.join(links)}"


def _end(terminal: Terminal, chain: Chain) -> Iterator[str]:
    match chain.end:
        case "text":
            yield terminal.paint(f'"{safe(chain.what)}"', Style.GOOD)
        case "loop":
            yield terminal.paint("[loop]", Style.FAINT)
        case "gap":
            yield terminal.paint(f"[{explained(chain.what)}]", Style.BAD)
        case None:
            pass


def _link(terminal: Terminal, link: Link) -> str:
    if link.place is None:
        return f"{link.value:#x}"
    name = link.place.name
    shown = terminal.paint(f"{link.value:#x}", link.place.kind.style)
    return f"{shown} ({safe(name)})" if name else shown
