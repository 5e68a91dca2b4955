"""`farpeek search --yara`: what the rules of a file find, in the process that asks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from farpeek_api.cli import statuses
from farpeek_api.cli.errors import CommandError, WrongWord
from farpeek_api.cli.ranges import ranges_of
from farpeek_api.cli.show.escape import safe
from farpeek_api.cli.show.sizes import size

if TYPE_CHECKING:
    import yara_x

    from farpeek_api.cli.session import Session
    from farpeek_api.cli.space import Space
    from farpeek_api.client import Target
    from farpeek_api.yara import YaraMatch

_LARGEST: Final = 16 << 20
_MOST: Final = 10_000


def run(session: Session, target: Target, space: Space) -> int:
    """Show what is found, as it is found."""
    try:
        from farpeek_api import yara  # noqa: PLC0415 - an extra, and large
    except ImportError as error:
        raise CommandError(str(error)) from None
    chosen = session.chosen
    if chosen.curl:
        raise WrongWord("rules are matched here, and not by the service: leave --curl out")
    rules = _rules(Path(chosen.yara))
    most = chosen.limit or _MOST
    found = yara.scan(target, rules, ranges_of(space, chosen.where), mode=chosen.mode or "nowait")
    try:
        for count, match in enumerate(found):
            if count == most:
                session.complain("there may be more: it has stopped at --limit")
                return statuses.INCOMPLETE
            _show(session, match)
    except yara.TooCostly as error:
        raise CommandError(f"{error}: search less with --in, or mend the rules") from None
    return statuses.DONE


def _rules(path: Path) -> yara_x.Rules:
    from farpeek_api import yara  # noqa: PLC0415 - an extra, and large

    with path.open(encoding="utf-8", errors="strict") as file:
        try:
            text = file.read(_LARGEST + 1)
        except UnicodeDecodeError:
            raise WrongWord(f"{path} is no text") from None
    if len(text) > _LARGEST:
        raise WrongWord(f"{path} is over {size(_LARGEST)}")
    try:
        return yara.compiled(text, str(path))
    except yara.CompileError as error:
        raise WrongWord(f"the rules cannot be used:\n{safe(str(error))}") from None


def _show(session: Session, match: YaraMatch) -> None:
    if session.chosen.json:
        session.json(
            {
                "match": {
                    "rule": match.rule,
                    "pattern": match.pattern,
                    "address": hex(match.address),
                    "length": match.length,
                }
            }
        )
    else:
        pattern = "" if match.pattern is None else f" {safe(match.pattern)}"
        session.terminal.line(f"{match.address:#x}  {safe(match.rule)}{pattern}, {match.length}")
    session.terminal.flush()
