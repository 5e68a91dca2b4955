"""`python -m support.references`: writes docs/reference, from the code and from a real service."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from farpeek_api.cli import agent, gateway, running, sampler
from farpeek_api.cli.assistants import command as mcp
from farpeek_api.cli.commands import COMMANDS
from farpeek_api.cli.dap import command as dap
from farpeek_api.cli.fleet import COMMANDS as OF_FLEETS
from farpeek_api.cli.fleet import command as fleet
from farpeek_api.serving.bounds import PREFIX
from farpeek_api.serving.listeners import default_socket_path
from farpeek_api.serving.settings import Settings, in_order
from support.folders import open_folder
from support.wire import Served

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic.fields import FieldInfo

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "reference"
COLUMNS = 100

_MADE = "<!-- Made from the code by `make references`. -->\n"
_SETTINGS = """
# Settings of `farpeek serve`

As a flag or as a variable; a flag wins. Where a setting may be given several times, its variable
has commas between.

| flag | variable | default | means |
| --- | --- | --- | --- |
"""
_COMMANDS = """
# Commands

`farpeek serve` has [settings](settings.md); `demo` and `health` take what their `--help` says, and
`farpeek completion bash|zsh|tcsh` prints a script by which a shell completes all of them. The rest
ask a service, and end with status 0 (done), 1 (failed), 2 (wrong usage), 3 (incomplete), 4 (no such
target, or it has ended), 5 (not allowed) or 130 (interrupted).

"""
_FOR_OTHERS = {
    "agent": agent.parser,
    "gateway": gateway.parser,
    "sampler": sampler.parser,
    "mcp": mcp.parser,
    "dap": dap.parser,
}
"""Commands that other programs start."""

_METRICS = """
# Metrics

What `GET /metrics` shows, by name. `process_*` and `python_*` are those of Prometheus's
client for Python.

| name | kind | means |
| --- | --- | --- |
"""


def settings() -> str:
    """Tell of every setting of the service."""
    fields = ((name, Settings.model_fields[name]) for name in in_order())
    rows = [
        f"| `--{name.replace('_', '-')}` | `{PREFIX}{name.upper()}` | {_bounds(field)} | "
        f"{_without_this_user(str(field.description))} |"
        for name, field in fields
    ]
    return _MADE + _SETTINGS + "\n".join(rows) + "\n"


def _without_this_user(text: str) -> str:
    return text.replace(str(default_socket_path()), "/run/farpeek/farpeek.sock")


def _bounds(field: FieldInfo) -> str:
    if field.default_factory is not None or field.default is None:
        return ""
    default = field.default
    text = str(default).lower() if isinstance(default, bool) else str(default)
    limits = {
        sign: getattr(each, name)
        for each in field.metadata
        for name, sign in (("ge", ">="), ("le", "<="))
        if getattr(each, name, None) is not None
    }
    shown = ", ".join(f"{sign} {limit}" for sign, limit in limits.items())
    return f"{text} ({shown})" if shown else text


def commands() -> str:
    """Tell of every command that asks a service."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", str(COLUMNS))
        parsers = {name: running.parser(name) for name in COMMANDS} | {
            name: parser() for name, parser in _FOR_OTHERS.items()
        }
        parsers |= {f"fleet {word}": fleet.parser_of(word) for word in OF_FLEETS}
        helps = {name: each.format_help().rstrip() for name, each in parsers.items()}
    pages = (f"## farpeek {name}\n\n```\n{text}\n```\n" for name, text in helps.items())
    return _MADE + _COMMANDS + "\n".join(pages)


def metrics() -> str:
    """Tell of every metric that a service shows."""
    with open_folder() as folder, Served(folder) as served:
        served.request("GET", "/v1/info")
        text = served.request("GET", "/metrics").body.decode()
    rows = sorted(set(_metrics(text)))
    return _MADE + _METRICS + "\n".join(rows) + "\n"


def _metrics(text: str) -> Iterator[str]:
    kinds = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))
    for name, means in re.findall(r"^# HELP (farpeek_\S+) (.*)$", text, re.MULTILINE):
        yield f"| `{name}` | {kinds[name]} | {means} |"


PAGES = {"settings.md": settings, "commands.md": commands, "metrics.md": metrics}


def main() -> int:
    """Write them all."""
    FOLDER.mkdir(exist_ok=True)
    for name, make in PAGES.items():
        (FOLDER / name).write_text(make())
    return 0


if __name__ == "__main__":
    sys.exit(main())
