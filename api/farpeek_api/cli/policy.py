"""`farpeek policy check`: whether a file is a policy, and what it decides about a process."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from farpeek.errors import FarpeekError, NoSuchProcess
from farpeek.model import Mode
from farpeek.targets import environments, processes
from farpeek_api.cli import parsers, statuses
from farpeek_api.cli.show.escape import one_line
from farpeek_api.cli.words.nearest import did_you_mean
from farpeek_api.policy import decisions, file
from farpeek_api.policy.verbs import Verb

if TYPE_CHECKING:
    from collections.abc import Sequence

    from farpeek_api.policy.decisions import Decision, Subject
    from farpeek_api.policy.rules import Policy

_STATUS: Final = """\
exit status: 0 it is a policy, and allows what was asked about; 1 it does not allow that; 2 it is
no policy. Labels are known to a running service alone: here no rule on them fits.
"""
_BEGUN_WITHIN_S: Final = 1.0
_MOMENT_S: Final = 0.001


def parser() -> parsers.Parser:
    """Make the command's parser."""
    made = parsers.Parser(
        "farpeek policy",
        description="Check a policy, and what it decides.",
        epilog=_STATUS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("what", choices=("check",), type=parsers.one_of("check"))
    made.add_argument("file", metavar="FILE", type=Path, help="the policy")
    made.add_argument("--as", dest="client", metavar="CLIENT", help="whoever would ask")
    made.add_argument(
        "--for",
        dest="named",
        metavar="CLIENT",
        help="whom it would ask for, by Farpeek-On-Behalf-Of",
    )
    made.add_argument("--pid", metavar="N", type=int, help="about which process")
    made.add_argument(
        "--verb", choices=[*Verb], type=parsers.one_of(*Verb), default="read", help="for what"
    )
    made.add_argument(
        "--mode", choices=[*Mode], type=parsers.one_of(*Mode), help="of reads (default: either)"
    )
    return made


def main(arguments: Sequence[str]) -> int:
    """Say what is decided, and by which line."""
    own = parser()
    chosen = own.parse_args(arguments)
    for flag, given in (("--pid", chosen.pid), ("--for", chosen.named)):
        if chosen.client is None and given is not None:
            own.error(f"{flag} is about what a client may do: name it with --as")
    try:
        policy = file.read(chosen.file)
    except file.PolicyError as error:
        for line in str(error).splitlines():
            sys.stderr.write(one_line(line) + "\n")
        return statuses.USAGE
    for warning in policy.warnings:
        sys.stderr.write(one_line(f"{warning} (warning)") + "\n")
    if chosen.client is None:
        sys.stdout.write(f"{chosen.file} is a policy of {len(policy.clients)} clients\n")
        return 0
    for name in (chosen.client, chosen.named):
        if name is not None and name not in policy.clients:
            own.error(
                f"the policy has no client {name!r}{did_you_mean(name, policy.clients) or ''}"
            )
    decision = _decide(policy, chosen, own)
    word = "allowed" if decision.allowed else "refused"
    sys.stdout.write(f"{word}: {decision.text} ({chosen.file}: {decision.rule})\n")
    return 0 if decision.allowed else 1


def _decide(policy: Policy, chosen: argparse.Namespace, own: parsers.Parser) -> Decision:
    subject = None
    if chosen.pid is not None:
        try:
            subject = _look(chosen.pid)
        except (FarpeekError, OSError) as error:
            own.error(f"--pid {chosen.pid}: {error}")
    client = policy.clients[chosen.client]
    if chosen.named is not None:
        asking = decisions.decide_asking(client, chosen.named, policy)
        if not asking.allowed:
            return asking
        client = policy.clients[chosen.named]
    mode = Mode(chosen.mode) if chosen.mode is not None else min(client.modes)
    return decisions.decide(client, Verb(chosen.verb), mode, subject)


def _look(pid: int) -> Subject:
    """Find out who a process is, and what it says of itself."""
    process, identity = processes.hold(pid)
    os.close(process.pidfd)
    give_up = time.monotonic() + _BEGUN_WITHIN_S
    while (opted_out := environments.opts_out(f"/proc/{pid}")) is None:
        if time.monotonic() > give_up:
            raise NoSuchProcess("it executes no program")
        time.sleep(_MOMENT_S)
    return decisions.Subject(identity, {}, opted_out)
