"""`farpeek register`: a process becomes a target."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from farpeek_api.cli import parsers, statuses
from farpeek_api.cli.errors import WrongWord
from farpeek_api.client import calls

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from farpeek_api.cli.session import Session
    from farpeek_api.cli.words.target import TargetWord

_MOST_TOLD: Final = 8


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    parsers.target(parser)
    parser.add_argument(
        "--label",
        metavar="KEY=VALUE",
        action="append",
        type=parsers.word(_label),
        help="a label of yours for it; may be given several times, and replaces those before",
    )
    parser.add_argument(
        "--all",
        action="store_true",
        help="all that fit now, up to 4,096, where TARGET says what a process is",
    )
    parsers.common(parser)


def _label(word: str) -> tuple[str, str]:
    name, sign, value = word.partition("=")
    if not name or not sign:
        raise WrongWord(f"{word!r} is no label: write KEY=VALUE")
    return name, value


def run(session: Session) -> int:
    """Register it, or all that fit, and print each id."""
    labels = dict(session.chosen.label) if session.chosen.label else None
    if session.chosen.all:
        return _all(session, session.target_word(), labels)
    if session.chosen.curl:
        body = {**session.target_word().body(session.chosen.pid_namespace), "labels": labels}
        session.curl(calls.json_request("/v1/targets", body))
        return statuses.DONE
    target = session.target(labels)
    if session.chosen.json:
        session.json(target.info.members)
    else:
        session.terminal.line(session.terminal.name(target.id))
    return statuses.DONE


def _all(session: Session, word: TargetWord, labels: Mapping[str, str] | None) -> int:
    if not word.match:
        raise WrongWord(f"{word.word!r} is one process: --all goes with comm=NAME, exe=*/NAME, ...")
    if session.chosen.curl:
        body = {"match": word.match, "all": True, "labels": labels}
        session.curl(calls.json_request("/v1/targets", body))
        return statuses.DONE
    targets, refused = session.peek.register_all(**word.match, labels=labels)
    if not targets and not refused:
        raise session.nothing_fits(word)
    if session.chosen.json:
        told = [{"pid": pid, "problem": problem.members} for pid, problem in refused]
        session.json({"targets": [each.info.members for each in targets], "refused": told})
    else:
        session.terminal.lines(session.terminal.name(each.id) for each in targets)
    for pid, problem in refused[:_MOST_TOLD]:
        session.complain(f"pid {pid}: {problem}")
    if len(refused) > _MOST_TOLD:
        session.complain(f"{len(refused) - _MOST_TOLD} more are refused")
    return statuses.FAILED if refused else statuses.DONE
