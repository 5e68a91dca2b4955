"""The `farpeek` command. Each subcommand loads only what it needs."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

import farpeek

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def _serve(arguments: Sequence[str]) -> int:
    from farpeek_api.serving import settings  # noqa: PLC0415 - slow to load

    chosen = settings.load(arguments)

    from farpeek.errors import FarpeekError  # noqa: PLC0415 - slow to load, with all below
    from farpeek_api.gate import tokens  # noqa: PLC0415
    from farpeek_api.serving import listeners, logs, server  # noqa: PLC0415

    logs.configure(chosen.log_format, chosen.logging_level)
    try:
        server.run(chosen)
    except (listeners.ListenError, tokens.TokenError) as error:
        sys.stderr.write(f"farpeek serve: {error}\n")
        return 2
    except FarpeekError as error:
        sys.stderr.write(f"farpeek serve: {error}\n")
        return 1
    return 0


def _demo(arguments: Sequence[str]) -> int:
    from farpeek_api.cli import demo  # noqa: PLC0415 - loaded only where it is used

    return demo.main(arguments)


def _health(arguments: Sequence[str]) -> int:
    from farpeek_api.cli import health  # noqa: PLC0415 - loaded only where it is used

    return health.main(arguments)


_COMMANDS: dict[str, tuple[str, Callable[[Sequence[str]], int]]] = {
    "serve": ("run the service", _serve),
    "demo": ("show a read with a hole and an exit event, from start to end", _demo),
    "health": ("ask a running service whether it is ready", _health),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a subcommand; the result is the exit status."""
    parser = argparse.ArgumentParser(
        prog="farpeek", description="Read the memory of other processes over HTTP."
    )
    parser.add_argument("--version", action="version", version=f"farpeek {farpeek.__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, (text, _) in _COMMANDS.items():
        commands.add_parser(name, help=text, add_help=False, allow_abbrev=False)
    chosen, rest = parser.parse_known_args(arguments)
    return _COMMANDS[chosen.command][1](rest)


if __name__ == "__main__":
    sys.exit(main())
