"""`farpeek completion`: a script by which a shell completes all commands and their options."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Final

from farpeek_api.cli import parsers, running
from farpeek_api.cli.commands import COMMANDS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SHELLS: Final = ("bash", "zsh", "tcsh")
_FILES: Final = ("FILE", "PATH")
"""What an argument's placeholder is where a file is meant."""

_HOW: Final = """\
put the script where the shell finds it:
  bash: farpeek completion bash > ~/.local/share/bash-completion/completions/farpeek
  zsh:  farpeek completion zsh > DIRECTORY/_farpeek, where DIRECTORY is one of $fpath
  tcsh: farpeek completion tcsh > ~/.farpeek.tcsh, and `source ~/.farpeek.tcsh` in ~/.tcshrc
"""


def parser() -> parsers.Parser:
    """Make the command's own parser."""
    made = parsers.Parser(
        "farpeek completion",
        description="Print a completion script.",
        epilog=_HOW,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("shell", choices=SHELLS, type=parsers.one_of(*SHELLS))
    return made


def main(arguments: Sequence[str], helps: Mapping[str, str]) -> int:
    """Print the script; ``helps`` has a text for each command."""
    import shtab  # noqa: PLC0415 - loaded only where it is used

    shell: str = parser().parse_args(arguments).shell
    sys.stdout.write(shtab.complete(whole(helps), shell) + "\n")
    return 0


def whole(helps: Mapping[str, str]) -> argparse.ArgumentParser:
    """Make one parser of all commands."""
    made = argparse.ArgumentParser("farpeek")
    made.add_argument("--version", action="version", version="")
    commands = made.add_subparsers(metavar="COMMAND")
    for name, text in helps.items():
        command = _parser_of(name)
        _complete_files(command)
        commands.add_parser(name, help=text, parents=[command], add_help=False)
    return made


def _parser_of(name: str) -> argparse.ArgumentParser:
    if name in COMMANDS:
        return running.parser(name)
    from farpeek_api.cli import agent, audit, demo, doctor, gateway, health, policy, sampler, token  # noqa: PLC0415 - slow to load, as the next
    from farpeek_api.cli.assistants import command as mcp  # noqa: PLC0415
    from farpeek_api.cli.dap import command as dap  # noqa: PLC0415
    from farpeek_api.cli.fleet import command as fleet  # noqa: PLC0415
    from farpeek_api.serving import settings  # noqa: PLC0415

    of_others = {
        "serve": settings.parser,
        "demo": demo.parser,
        "health": health.parser,
        "policy": policy.parser,
        "token": token.parser,
        "audit": audit.parser,
        "doctor": doctor.parser,
        "agent": agent.parser,
        "gateway": gateway.parser,
        "sampler": sampler.parser,
        "fleet": fleet.parser,
        "mcp": mcp.parser,
        "dap": dap.parser,
        "completion": parser,
    }
    return of_others[name]()


def _complete_files(command: argparse.ArgumentParser) -> None:
    import shtab  # noqa: PLC0415 - loaded only where it is used

    for action in command._actions:  # noqa: SLF001 - argparse shows them nowhere else
        if action.metavar in _FILES:
            action.complete = shtab.FILE  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue] - how shtab is told
