"""Rounds, each with a service that is started, loaded, and killed."""

from __future__ import annotations

import random
import sys
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from endurance.crash.followers import Dumper, EventFollower, Waiter
from endurance.crash.load import Load
from endurance.crash.victims import Large, Victim
from farpeek_api.audit.verifying import verify
from support.folders import open_folder
from support.targets import Target
from support.waiting import until
from support.wire import Served

if TYPE_CHECKING:
    from endurance.crash.followers import Follower

_LATEST_S = 0.4
"""How long a service lives under load, at most; a dump takes longer."""
_SAID_EVERY = 20
_PATIENCE_S = 60.0
_FLAGS = ("--allow-writes", "--listen", "http://127.0.0.1:0")


@dataclass
class Outcome:
    """What came of all rounds."""

    seed: int
    rounds: int = 0
    seconds: float = 0.0
    answers: Counter[str] = field(default_factory=Counter[str])
    dumps: int = 0
    resumed: int = 0
    times_lost: int = 0
    lines: int = 0
    failures: list[str] = field(default_factory=list[str])


def run(rounds: int, seed: int) -> Outcome:
    """Do so many; stops after a round with a failure."""
    outcome = Outcome(seed)
    chance = random.Random(seed)  # noqa: S311 - the same in every run
    began = time.monotonic()
    with open_folder() as folder, ExitStack() as stack:
        victims = [stack.enter_context(Victim()) for _ in range(2)]
        large = stack.enter_context(Large())
        last = stack.enter_context(Target("plain"))
        url = f"unix:{folder / 'run' / 'farpeek.sock'}"
        events = EventFollower(url)
        dumper = Dumper(url, large, folder / "dump")
        waiter = Waiter(url, last.pid)
        followers: list[Follower] = [events, dumper, waiter]
        flags = (*_FLAGS, "--audit", str(folder / "audit.log"))
        while outcome.rounds < rounds and not outcome.failures:
            with Served(folder, *flags) as service:
                _begin(followers)
                _await_events(service, events)
                load = Load(url, victims, large, f"{seed} {outcome.rounds}")
                load.begin()
                time.sleep(chance.uniform(0, _LATEST_S))
                service.end()  # by SIGKILL
            outcome.failures += [fault for each in victims for fault in each.faults()]
            if not large.is_begun(dumper.path):
                outcome.failures.append("a dump that is under way has wrong bytes")
            report = verify([folder / "audit.log"])
            outcome.lines = report.lines
            outcome.failures += [f"the audit: {each}" for each in report.breaks]
            load.join()
            load.count(outcome.answers)
            outcome.failures += load.failures
            outcome.failures += [each.failures.pop() for each in followers if each.failures]
            outcome.rounds += 1
            if outcome.rounds % _SAID_EVERY == 0:
                sys.stderr.write(f"{outcome.rounds} rounds, {time.monotonic() - began:.0f} s\n")
        with Served(folder, *flags) as service:
            _finish(service, followers, last, outcome)
    outcome.dumps, outcome.resumed = dumper.dumps, dumper.resumed
    outcome.times_lost = events.times_lost
    outcome.seconds = time.monotonic() - began
    return outcome


def _begin(followers: list[Follower]) -> None:
    for each in followers:
        if each.ident is None:
            each.start()


def _await_events(service: Served, events: EventFollower) -> None:
    """Have a process registered and exit: both are told, however often the service has died."""
    with Target("plain") as process:
        service.register(process.pid)
        until(lambda: process.pid in events.registered, "a registration is told", _PATIENCE_S)
    until(lambda: process.pid in events.exited, "an exit is told", _PATIENCE_S)


def _finish(service: Served, followers: list[Follower], last: Target, outcome: Outcome) -> None:
    """Let everybody come to an end: events are told, a dump is whole, and the wait is over."""
    for each in followers:
        each.over = True
    service.register(last.pid)
    last.end()
    for each in followers:
        each.join(_PATIENCE_S)
        if each.is_alive():
            outcome.failures.append(f"{type(each).__name__} does not come to its end")
        outcome.failures += [
            failure for failure in each.failures if failure not in outcome.failures
        ]
