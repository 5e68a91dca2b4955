"""`farpeek release`: a claim is dropped; the target goes with the last one."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from farpeek_api.cli import curl, parsers, statuses
from farpeek_api.cli.errors import NoSuchTargetWord, WrongWord
from farpeek_api.cli.words.target import candidate
from farpeek_api.client import calls

if TYPE_CHECKING:
    import argparse

    from farpeek_api.cli.session import Session
    from farpeek_api.cli.words.target import TargetWord
    from farpeek_api.client import Target


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    parser.add_argument(
        "target",
        metavar="TARGET",
        help="a registered one: its id, its pid, or what it is: comm=NAME, exe=*/NAME, ...",
    )
    parser.add_argument(
        "--everybody", action="store_true", help="drop the claims of all clients, where allowed"
    )
    parsers.common(parser)


def run(session: Session) -> int:
    """Find it among the targets, and release it."""
    everybody: bool = session.chosen.everybody
    target = _find(session, session.target_word())
    if session.chosen.curl:
        session.curl(curl.first_request(calls.release(target.id, everybody=everybody)))
        return statuses.DONE
    target.release(everybody=everybody)
    if session.chosen.json:
        session.json({"released": target.id})
    return statuses.DONE


def _find(session: Session, word: TargetWord) -> Target:
    """Find the one target that a word means; nothing is registered for it."""
    found = [each for each in session.peek.targets() if _is_meant(word, each)]
    if not found:
        raise NoSuchTargetWord(f"no target is {word.word!r}: `farpeek targets` lists all")
    if len(found) > 1:
        shown = [candidate({**each.info.members, "target": each.id}) for each in found]
        raise WrongWord(f"{word.word!r} fits {len(found)} targets:", shown)
    return found[0]


def _is_meant(word: TargetWord, target: Target) -> bool:
    if word.id is not None:
        return target.id == word.id
    if word.pid is not None:
        return target.pid == word.pid and target.info.state != "reaped"
    members = {**target.info.members, "ns_pid": target.info.process.ns_pids[-1]}
    return all(_is_like(members.get(name), value) for name, value in word.match.items())


def _is_like(value: object, wanted: object) -> bool:
    if isinstance(wanted, str):
        return isinstance(value, str) and fnmatchcase(value, wanted)
    return value == wanted
