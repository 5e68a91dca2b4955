"""`farpeek events`: what happens to targets, as it happens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from farpeek_api.cli import curl, parsers, statuses
from farpeek_api.cli.show.endings import how_it_ended
from farpeek_api.cli.show.escape import cut, safe
from farpeek_api.cli.show.moments import moment
from farpeek_api.cli.show.terminal import Style
from farpeek_api.client import events

if TYPE_CHECKING:
    import argparse

    from farpeek_api.cli.session import Session
    from farpeek_api.cli.show.terminal import Terminal
    from farpeek_api.client import Event

_KIND: Final = 10
_STYLES: Final = {
    "registered": Style.GOOD,
    "exited": Style.BAD,
    "reaped": Style.BAD,
    "exec": Style.CHANGED,
    "lost": Style.BAD,
}
_LAST: Final = ("reaped", "released")
_MOST: Final = (1 << 63) - 1


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    parsers.target(parser, optional=True)
    parser.add_argument(
        "--after",
        metavar="NUMBER",
        type=parsers.whole(0, _MOST),
        help="begin behind the event of that number; 0: with all that are still known",
    )
    parsers.common(parser, json="print one JSON document a line, one for each event")


def run(session: Session) -> int:
    """Tell events: those of one target up to its end, those of all without end."""
    target = None if session.chosen.target is None else session.target()
    after: int | None = session.chosen.after
    if session.chosen.curl:
        wanted = events.events(None if target is None else target.id, after, 0)
        session.curl(curl.first_request(wanted), "--no-buffer")
        return statuses.DONE
    for event in session.peek.events(target, after=after):
        if session.chosen.json:
            session.json(_members(event))
        else:
            session.terminal.line(_line(session.terminal, event))
        session.terminal.flush()
        if target is not None and event.kind in _LAST:
            break
    return statuses.DONE


def _members(event: Event) -> dict[str, object]:
    """Write it as the service does, and its number and kind, which there are outside of it."""
    shown: dict[str, object] = {
        "id": event.number,
        "event": event.kind,
        "at": event.at.isoformat().replace("+00:00", "Z"),
        "target": None if event.target is None else event.target.members,
    }
    return shown if event.match is None else {**shown, "match": event.match}


def _line(terminal: Terminal, event: Event) -> str:
    kind = safe(event.kind).ljust(_KIND)
    begin = f"{moment(event.at)}  {terminal.paint(kind, _STYLES.get(event.kind, Style.PLAIN))}"
    room = None if terminal.width is None else terminal.width - len(moment(event.at)) - 2 - _KIND
    text = f"  {_what(event)}"
    return begin + (text if room is None else cut(text, room))


def _what(event: Event) -> str:
    if event.target is None:
        which = "some" if event.number is None else f"those before {event.number}"
        return f"{which} are not known any more"
    process = event.target.process
    words = [f"{process.pid} {safe(process.comm)}"]
    if event.kind in ("exited", "reaped"):
        words.append(how_it_ended(event.target.exit))
    if event.kind == "exec":
        words.append(f"executes {safe(process.exe or '?')}")
    if event.match is not None:
        words.append(f"match {safe(event.match)}")
    return "  ".join([*words, event.target.id])
