"""The `farpeek` command. Each subcommand loads only what it needs."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, NoReturn

import farpeek
from farpeek_api.cli import parsers, running, statuses
from farpeek_api.cli.commands import COMMANDS
from farpeek_api.cli.words.nearest import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def _serve(arguments: Sequence[str]) -> int:
    from farpeek_api.serving import settings  # noqa: PLC0415 - slow to load

    chosen = settings.load(arguments)

    from farpeek.errors import FarpeekError  # noqa: PLC0415 - slow to load, with all below
    from farpeek_api.audit.sinks import AuditError  # noqa: PLC0415 - the same
    from farpeek_api.gate import tokens  # noqa: PLC0415 - the same
    from farpeek_api.policy.file import PolicyError  # noqa: PLC0415 - the same
    from farpeek_api.serving import listeners, logs, privileges, server, tls, tracing  # noqa: PLC0415 - the same

    logs.configure(chosen.log_format, chosen.logging_level)
    try:
        server.run(chosen)
    except PolicyError as error:
        sys.stderr.write("".join(f"farpeek serve: {line}\n" for line in str(error).splitlines()))
        return 2
    except (
        listeners.ListenError,
        privileges.PrivilegeError,
        tokens.TokenError,
        tls.TlsError,
        tracing.TracingError,
        AuditError,
    ) as error:
        sys.stderr.write(f"farpeek serve: {error}\n")
        return 2
    except FarpeekError as error:
        sys.stderr.write(f"farpeek serve: {error}\n")
        return 1
    return 0


def _demo(arguments: Sequence[str]) -> int:
    from farpeek_api.cli import demo  # noqa: PLC0415 - loaded only where it is used

    return running.writing("demo", lambda: demo.main(arguments))


def _health(arguments: Sequence[str]) -> int:
    from farpeek_api.cli import health  # noqa: PLC0415 - loaded only where it is used

    return health.main(arguments)


def _token(arguments: Sequence[str]) -> int:
    from farpeek_api.cli import token  # noqa: PLC0415 - loaded only where it is used

    return running.writing("token", lambda: token.main(arguments))


def _policy(arguments: Sequence[str]) -> int:
    from farpeek_api.cli import policy  # noqa: PLC0415 - loaded only where it is used

    return running.writing("policy", lambda: policy.main(arguments))


def _audit(arguments: Sequence[str]) -> int:
    from farpeek_api.cli import audit  # noqa: PLC0415 - loaded only where it is used

    return running.writing("audit", lambda: audit.main(arguments))


def _doctor(arguments: Sequence[str]) -> int:
    from farpeek_api.cli import doctor  # noqa: PLC0415 - loaded only where it is used

    return running.writing("doctor", lambda: doctor.main(arguments))


def _mcp(arguments: Sequence[str]) -> int:
    from farpeek_api.cli.assistants import command  # noqa: PLC0415 - loaded only where it is used

    return command.main(arguments)


def _dap(arguments: Sequence[str]) -> int:
    from farpeek_api.cli.dap import command  # noqa: PLC0415 - loaded only where it is used

    return command.main(arguments)


def _agent(arguments: Sequence[str]) -> int:
    from farpeek_api.cli import agent  # noqa: PLC0415 - loaded only where it is used

    return agent.main(arguments)


def _sampler(arguments: Sequence[str]) -> int:
    from farpeek_api.cli import sampler  # noqa: PLC0415 - loaded only where it is used

    return running.writing("sampler", lambda: sampler.main(arguments))


def _gateway(arguments: Sequence[str]) -> int:
    from farpeek_api.cli import gateway  # noqa: PLC0415 - loaded only where it is used

    return gateway.main(arguments)


def _fleet(arguments: Sequence[str]) -> int:
    from farpeek_api.cli.fleet import command  # noqa: PLC0415 - loaded only where it is used

    return command.main(arguments)


def _completion(arguments: Sequence[str]) -> int:
    from farpeek_api.cli import completion  # noqa: PLC0415 - loaded only where it is used

    return running.writing("completion", lambda: completion.main(arguments, _helps()))


_COMMANDS: dict[str, tuple[str, Callable[[Sequence[str]], int]]] = {
    "serve": ("run the service", _serve),
    "demo": ("show a read with a hole and an exit event, from start to end", _demo),
    "health": ("ask a running service whether it is ready", _health),
    "token": ("make a token, and its entry in a policy", _token),
    "policy": ("check a policy, and what it decides", _policy),
    "audit": ("check that an audit is whole", _audit),
    "doctor": ("try what decides about access to memory here, and say the cures", _doctor),
    "mcp": ("let an assistant read the memory of processes that you approve", _mcp),
    "dap": ("show the memory of a process in an editor, as a debug adapter", _dap),
    "agent": ("let a fleet ask the service beside it, by NATS", _agent),
    "sampler": ("have all nodes of a fleet sample processes, until you say otherwise", _sampler),
    "gateway": ("serve the nodes of a fleet over HTTP, to clients without NATS", _gateway),
    "fleet": ("ask many nodes of a fleet, by NATS", _fleet),
    "completion": ("print a script by which a shell completes commands", _completion),
}


def _helps() -> dict[str, str]:
    return {**{name: text for name, (text, _) in _COMMANDS.items()}, **COMMANDS}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a subcommand; the result is the exit status."""
    name, *rest = (sys.argv[1:] if arguments is None else arguments) or [""]
    try:
        if name in COMMANDS:
            return running.run(name, rest)
        if name in _COMMANDS:
            return _COMMANDS[name][1](rest)
        _explain_itself(name)
    except KeyboardInterrupt:
        return statuses.INTERRUPTED


def _explain_itself(word: str) -> NoReturn:
    """Show what --help or --version asks for; refuse all else."""
    helps = _helps()
    parser = parsers.RootParser(
        "farpeek", description="Read the memory of other processes over HTTP."
    )
    parser.add_argument("--version", action="version", version=f"farpeek {farpeek.__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", parser_class=argparse.ArgumentParser)
    for name, text in helps.items():
        commands.add_parser(name, help=text, add_help=False)
    if word in ("-h", "--help", "--version"):
        parser.parse_args([word])
    if word.startswith("-"):
        parser.error(f"a command comes first, {word!r} behind it: farpeek COMMAND {word}")
    if not word:
        parser.exit(statuses.USAGE, parser.format_help())
    cure = did_you_mean(word, helps) or ": `farpeek --help` lists all"
    parser.error(f"there is no command {word!r}{cure}")


if __name__ == "__main__":
    sys.exit(main())
