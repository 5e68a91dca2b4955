"""`farpeek what`: what is at an address."""

from __future__ import annotations

from typing import TYPE_CHECKING

from farpeek_api.cli import curl, parsers, statuses
from farpeek_api.cli.errors import CommandError
from farpeek_api.cli.places import Places
from farpeek_api.cli.show.reasons import explained
from farpeek_api.cli.show.sizes import size
from farpeek_api.cli.show.terminal import Style
from farpeek_api.cli.space import Space
from farpeek_api.client import calls

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from farpeek_api.cli.places import Place
    from farpeek_api.cli.session import Session
    from farpeek_api.client import MappedRegion, Target


class Unmapped(CommandError):
    """Nothing is there."""

    status = statuses.INCOMPLETE


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    parsers.target(parser)
    parsers.address(parser)
    parsers.common(parser)


def run(session: Session) -> int:
    """Say it, a line for each thing that is known."""
    target = session.target()
    space = Space(target)
    address = space.address(session.chosen.address)
    if session.chosen.curl:
        query = {"address": hex(address), "residency": True}
        session.curl(curl.first_request(calls.maps(target.id, query)))
        session.curl(calls.readv_in_json(target.id, [(address, 1)], {"mode": "nowait"}))
        return statuses.DONE
    places = Places(space)
    place = places.at(address)
    if place is None:
        raise Unmapped(_between(places, address))
    looked_at = target.maps(address=address, residency=True)
    mapping = looked_at[0] if looked_at else place.mapping
    page = _page(target, address)
    if session.chosen.json:
        head = {"address": hex(address), "symbol": place.symbol, "kind": place.kind.value}
        session.json({**head, "page": page, "mapping": mapping.members})
        return statuses.DONE
    terminal = session.terminal
    terminal.line(terminal.paint(f"{address:#x}", place.kind.style))
    for name, text in _lines(place, mapping, page, target.info.page_size):
        terminal.line(f"  {terminal.paint(f'{name:<9}', Style.FAINT)} {terminal.name(text)}")
    return statuses.DONE


def _between(places: Places, address: int) -> str:
    before, behind = places.neighbours(address)
    shown = [
        f"{word} {each.start:#x}-{each.end:#x} {each.path or ''}".rstrip()
        for word, each in (("behind", before), ("before", behind))
        if each is not None
    ]
    return f"nothing is mapped at {address:#x}: it is {', '.join(shown) or 'in no mapping'}"


def _page(target: Target, address: int) -> str:
    """Whether its page can be read without waiting: 'resident', or the reason why not."""
    result = target.readv([(address, 1)], mode="nowait")
    return result.gaps[0].reason if result.gaps else "resident"


def _lines(
    place: Place, mapping: MappedRegion, page: str, page_size: int
) -> Iterator[tuple[str, str]]:
    if place.symbol is not None:
        yield "symbol", place.symbol
    span = f"{mapping.start:#x}-{mapping.end:#x} {mapping.perms}"
    yield "mapping", f"{span}, {size(mapping.length)}, {place.kind}"
    if mapping.path and mapping.path.startswith("/"):
        yield "file", f"{mapping.path} + {mapping.offset + place.address - mapping.start:#x}"
    elif mapping.path:
        yield "name", f"{mapping.path} + {place.address - mapping.start:#x}"
    if mapping.build_id is not None:
        yield "build id", mapping.build_id
    yield "page", page if page == "resident" else explained(page)
    if mapping.resident_pages is not None:
        pages = mapping.length // page_size
        shown = f"{mapping.resident_pages} of {pages} are resident"
        swapped = f", {mapping.swapped_pages} are swapped out" if mapping.swapped_pages else ""
        yield "pages", shown + swapped
