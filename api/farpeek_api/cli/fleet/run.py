"""`farpeek fleet run`: any operation of the services of many nodes; a line of JSON for each."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from farpeek_api.cli.errors import WrongWord
from farpeek_api.cli.fleet import asking

if TYPE_CHECKING:
    import argparse

    from farpeek_api.cli.fleet.asking import FleetSession
    from farpeek_api.client.node_answers import NodeAnswer


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add what it takes."""
    parser.add_argument(
        "operation",
        metavar="OPERATION",
        help="an `operationId` of the service's OpenAPI document: list_processes, info, readv, ...",
    )
    parser.add_argument(
        "target", metavar="ID", nargs="?", help="what stands in its path: the id of a target"
    )
    parser.add_argument(
        "--query",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="a parameter of its URL (repeatable)",
    )
    parser.add_argument("--body", metavar="JSON", help="its body; @FILE is what a file has")
    asking.arguments(parser, json="what it prints is JSON, with or without this")


def run(chosen: argparse.Namespace) -> int:
    """Ask, and show what comes as it comes."""
    return asking.run("run", chosen, _run)


def _run(session: FleetSession) -> int:
    chosen = session.chosen
    query = dict(_pair(each) for each in chosen.query)
    body = _body(chosen.body)
    for each in session.asked(
        lambda: session.fleet.ask(
            chosen.operation, chosen.target, query=query, body=body, **session.choice
        )
    ):
        session.json(_members(each))
        session.terminal.flush()
    session.json(session.told)
    return session.finish()


def _pair(word: str) -> tuple[str, str]:
    name, sign, value = word.partition("=")
    if not (name and sign):
        raise WrongWord(f"{word!r} is no parameter: write NAME=VALUE")
    return name, value


def _body(word: str | None) -> object:
    if word is None:
        return None
    try:
        text = Path(word[1:]).read_text("utf-8") if word.startswith("@") else word
        return json.loads(text)
    except OSError as error:
        raise WrongWord(f"{word[1:]} cannot be read: {error.strerror}") from None
    except ValueError:
        raise WrongWord("the body is no JSON") from None


def _members(answer: NodeAnswer[Any]) -> dict[str, object]:
    members: dict[str, object] = {
        "node": answer.node,
        "how": answer.how,
        "status": answer.status,
    }
    if answer.problem is not None:
        return {**members, "problem": _document(answer)}
    if isinstance(answer.value, bytes):
        return {**members, "data": base64.b64encode(answer.value).decode()}
    return {**members, "body": answer.value}


def _document(answer: NodeAnswer[Any]) -> object:
    try:
        return json.loads(answer.body)
    except ValueError:
        return {"detail": str(answer.problem)}
