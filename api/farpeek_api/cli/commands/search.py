"""`farpeek search`: where something is in a target's memory."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from farpeek_api.cli import curl, parsers, rules, statuses
from farpeek_api.cli.errors import CommandError, WrongWord
from farpeek_api.cli.mapped import path as path_of
from farpeek_api.cli.ranges import ranges_of
from farpeek_api.cli.show.escape import safe
from farpeek_api.cli.show.kinds import kind_of
from farpeek_api.cli.show.sizes import size
from farpeek_api.cli.show.terminal import Style
from farpeek_api.cli.space import Space
from farpeek_api.client import SearchDone, SearchMatch
from farpeek_api.client.searches import body, search

if TYPE_CHECKING:
    import argparse

    from farpeek_api.cli.session import Session
    from farpeek_api.cli.show.terminal import Terminal

_NUMBERS: Final = ("u8", "u16", "u32", "u64", "i8", "i16", "i32", "i64", "f32", "f64")
_OTHERS: Final = ("hex", "regex", "pointer_to")
_MOST: Final = 1_000_000
_MOST_CONTEXT: Final = 1024
_LARGEST_FILE: Final = 64 << 20
_MOST_ADDRESSES: Final = 65_536
_LINE: Final = re.compile(r"0x[0-9a-f]{1,16}\b")
_WHY: Final = {
    "limit": "there may be more: it has stopped at --limit",
    "deadline": "it has stopped at its time: search less with --in or --perms",
    "target-changed": "the target executes another program by now",
    "target-exited": "the target has exited",
}


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    parsers.target(parser)
    parser.add_argument("pattern", metavar="PATTERN", nargs="?", help="a text to look for")
    parser.add_argument("--hex", metavar="BYTES", help="bytes in hex, ?? for any: '4d ?? 49'")
    parser.add_argument("--regex", metavar="REGEX", help="a regular expression of RE2, over bytes")
    for name in _NUMBERS:
        parser.add_argument(f"--{name}", metavar="N", type=_number, help=f"a number of type {name}")
    parser.add_argument("--pointer-to", metavar="ADDRESS", help="pointers to exactly that address")
    parser.add_argument(
        "--yara",
        metavar="FILE",
        help="what the YARA rules of that file find; they are matched here, block by block of 16 "
        "MiB, and take `pip install 'farpeek[yara]'`",
    )
    parser.add_argument(
        "--next",
        metavar="FILE",
        help="only at the addresses that an earlier search has found: what it printed, in a file",
    )
    parser.add_argument(
        "--in",
        dest="where",
        metavar="RANGE|MAPPING",
        action="append",
        default=[],
        help="only there: FROM-TO, FROM+LENGTH, or what is mapped, as [heap]; may be repeated",
    )
    parser.add_argument(
        "--perms", metavar="LETTERS", help="only mappings that have these permissions: rw"
    )
    parser.add_argument(
        "--limit",
        metavar="N",
        type=parsers.whole(1, _MOST),
        help="matches at most (default: 10000)",
    )
    parser.add_argument(
        "--context",
        metavar="N",
        type=parsers.whole(0, _MOST_CONTEXT),
        default=16,
        help="bytes to show in front of each match, and behind it (default: 16)",
    )
    parser.add_argument(
        "--mode",
        choices=("wait", "nowait"),
        type=parsers.one_of("wait", "nowait"),
        help="nowait leaves alone what is not in memory (the default); wait has it read in",
    )
    parsers.common(parser, json="print one JSON document a line: a match each, and how it ended")


def run(session: Session) -> int:
    """Show matches as they are found, and say what was left alone."""
    chosen = session.chosen
    within = None if chosen.next is None else _addresses(chosen.next)
    target = session.target()
    space = Space(target)
    if chosen.where and chosen.perms is not None:
        raise WrongWord("--in and --perms do not go together: leave one out")
    if chosen.yara is not None:
        _refuse_beside_rules(chosen)
        return rules.run(session, target, space)
    pattern = _pattern(chosen, space)
    ranges = ranges_of(space, chosen.where) if chosen.where else None
    mappings = None if chosen.perms is None else {"perms": chosen.perms}
    options = {"mode": chosen.mode, "limit": chosen.limit, "context": chosen.context}
    if chosen.curl:
        wanted = body(pattern, ranges, within, {"mappings": mappings, **options})
        session.curl(curl.first_request(search(target.id, wanted)), "--no-buffer")
        return statuses.DONE
    for item in target.search(pattern, ranges=ranges, mappings=mappings, within=within, **options):
        if isinstance(item, SearchMatch):
            _show(session, item)
        elif isinstance(item, SearchDone):
            return _end(session, item)
    raise CommandError("the answer has no end")


def _refuse_beside_rules(chosen: argparse.Namespace) -> None:
    members: dict[str, Any] = vars(chosen)
    others = ("pattern", "next", "perms", *_OTHERS, *_NUMBERS)
    if any(members[name] is not None for name in others):
        raise WrongWord("--yara goes with --in, --limit, --mode and --json alone")


def _pattern(chosen: argparse.Namespace, space: Space) -> dict[str, object]:
    """Give the one pattern. Raises WrongWord."""
    members: dict[str, Any] = vars(chosen)
    given = [name for name in (*_OTHERS, *_NUMBERS) if members[name] is not None]
    if chosen.pattern is not None:
        given.append("text")
    if len(given) != 1:
        raise WrongWord("say what to look for: a text, or one of --hex, --u32, --pointer-to, ...")
    name = given[0]
    if name == "text":
        return {"text": chosen.pattern}
    if name == "pointer_to":
        address = space.address(chosen.pointer_to)
        return {"pointer_to": [hex(address), hex(address + 1)]}
    if name in _NUMBERS:
        return {"number": members[name], "type": name}
    return {name: members[name]}


@parsers.word
def _number(text: str) -> int | float:
    """Read a number: whole, in hex, or with a fraction."""
    for read in (lambda: int(text, 0), lambda: float(text)):
        try:
            return read()
        except ValueError:
            continue
    raise WrongWord(f"{text!r} is no number: write it as 7, 0x7, -7 or 0.5")


def _addresses(name: str) -> list[int]:
    """Read what an earlier search has printed: lines for people, or JSON. Raises WrongWord."""
    with Path(name).open(encoding="utf-8", errors="replace") as file:
        text = file.read(_LARGEST_FILE + 1)
    if len(text) > _LARGEST_FILE:
        raise WrongWord(f"{name} is over {size(_LARGEST_FILE)}")
    found: list[int] = []
    for line in text.splitlines():
        shown = _address_in_json(line) if line.startswith("{") else line
        match = _LINE.match(shown)
        if match is not None:
            found.append(int(match[0], 16))
    if not 0 < len(found) <= _MOST_ADDRESSES:
        raise WrongWord(f"{name} has {len(found)} addresses: it has to be 1 to {_MOST_ADDRESSES}")
    return found


def _address_in_json(line: str) -> str:
    try:
        return str(json.loads(line)["match"]["address"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""  # how it ended, or nothing of ours


def _show(session: Session, found: SearchMatch) -> None:
    if session.chosen.json:
        shown: dict[str, object] = {
            "address": hex(found.address),
            "length": found.length,
            "mapping": None if found.mapping is None else found.mapping.members,
            "context": found.context.hex(),
            "before": found.before,
        }
        session.json({"match": shown})
    else:
        session.terminal.line(_line(session.terminal, found))
    session.terminal.flush()


def _line(terminal: Terminal, found: SearchMatch) -> str:
    end = found.before + found.length
    before, behind = _text(found.context[: found.before]), _text(found.context[end:])
    around = f"{before}{terminal.paint(_text(found.data), Style.CHANGED)}{behind}"
    if found.mapping is None:
        return f"{found.address:#x}  {around}"
    where = terminal.paint(f"{found.address:#x}", kind_of(found.mapping).style)
    name = path_of(found.mapping).rpartition("/")[2] or "anonymous"
    return f"{where}  {safe(name)}+{found.address - found.mapping.start:#x}  {around}"


def _text(data: bytes) -> str:
    """Show bytes as a hex dump's right side does."""
    return "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in data)  # noqa: PLR2004 - ASCII


def _end(session: Session, done: SearchDone) -> int:
    if session.chosen.json:
        session.json(
            {
                "done": {
                    "matches": done.matches,
                    "bytes": done.bytes,
                    "skipped": done.skipped,
                    "stopped": done.stopped,
                    "generation": done.generation,
                }
            }
        )
    if done.skipped and session.chosen.mode != "wait":
        session.complain(
            f"{size(done.skipped)} not in memory, and left alone; --mode wait reads it"
        )
    if done.stopped is None:
        return statuses.DONE
    session.complain(_WHY.get(done.stopped, f"it has stopped: {safe(done.stopped)}"))
    return statuses.NO_TARGET if done.stopped == "target-exited" else statuses.INCOMPLETE
