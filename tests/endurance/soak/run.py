"""The run: everybody at once, and then nobody; and what the service has kept of it."""

from __future__ import annotations

import os
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from endurance.footprint import footprint
from endurance.soak.auditor import Auditor
from endurance.soak.counted import grown
from endurance.soak.listeners import Listener, Lister, NarrowListener
from endurance.soak.mischief import Director, Prompter, Rude
from endurance.soak.narrow import Blind, Narrow, NarrowSubscriber
from endurance.soak.stage import OPERATOR, Stage
from endurance.soak.streams import MatchSubscriber, StreamReader, Subscriber
from endurance.soak.tools import TOOLS
from endurance.soak.users import BulkReader, Line, ManyReader, PieceReader, Reader
from endurance.soak.writer import Writer
from support.folders import open_folder
from support.waiting import until

if TYPE_CHECKING:
    from collections import Counter

    from endurance.footprint import Footprint

_SAID_EVERY_S = 60.0
_PATIENCE_S = 90.0

KEPT_THREADS = 12
"""Threads of the pools stay; how many there are depends on how many reads have hung at once."""
KEPT_DESCRIPTORS = 8
"""The pagemap of a program that has ended is closed when Python collects what held it."""
KEPT_OBJECTS = 500
"""Of any class: of a request, a target, a connection there are thousands in a minute."""
KEPT_MIB = 40.0
"""The allocator keeps what it has freed, and events of processes that execute are larger than those
that fill the ring at first. Objects tell more."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a run."""

    seed: int
    seconds: float
    requests: Counter[str]
    faults: Counter[str]
    losses: Counter[str]
    failures: list[str]
    before: Footprint
    most: Footprint
    after: Footprint
    grown: Counter[str]  # objects, by class

    def verdict(self) -> list[str]:
        """Tell what was wrong; nothing is as it should be."""
        wrong = list(self.failures)
        threads = self.after.threads - self.before.threads
        descriptors = self.after.descriptors - self.before.descriptors
        memory = self.after.memory_mib - self.before.memory_mib
        if threads > KEPT_THREADS:
            wrong.append(f"{threads} threads are kept")
        if descriptors > KEPT_DESCRIPTORS:
            wrong.append(f"{descriptors} descriptors are kept")
        if memory > KEPT_MIB:
            wrong.append(f"{memory:.1f} MiB are kept")
        wrong += [
            f"{count} more of {name}" for name, count in self.grown.items() if count > KEPT_OBJECTS
        ]
        return wrong


def run(seconds: float, seed: int, warming_s: float, events: int) -> Outcome:
    """Do it for ``warming_s``, so that all is there that comes once; then for so long, and count.

    ``events`` are told before that as well: the ring of the last ones grows until it is full.
    """
    with open_folder() as folder, ExitStack() as stack:
        stage = Stage(folder, stack, seed)
        pid = stage.service.process.pid
        _play(stage, warming_s)
        _tell_events(stage, events)
        objects, before = stage.objects(), footprint(pid)
        stage.begin()
        most = _play(stage, seconds)
        after = footprint(pid)
        return Outcome(
            seed,
            seconds,
            stage.requests,
            stage.faults,
            stage.losses,
            stage.failures,
            before,
            most,
            after,
            grown(objects, stage.objects()),
        )


def _tell_events(stage: Stage, number: int) -> None:
    line = Line(stage, OPERATOR)
    for _ in range(number // 2):
        target = line.ask("POST", "/v1/targets", {"pid": os.getpid()}).json["id"]
        line.ask("DELETE", f"/v1/targets/{target}")
    line.close()


def _play(stage: Stage, seconds: float) -> Footprint:
    """Have everybody at work, and wait until the service is at rest again; the most it took."""
    director, listeners = Director(stage), [Listener(stage), NarrowListener(stage)]
    auditor = Auditor(stage)
    others = [
        auditor,
        *(Prompter(stage), Rude(stage), Lister(stage), Writer(stage)),
        *(Reader(stage, 1), Reader(stage, 2), ManyReader(stage)),
        *(BulkReader(stage), PieceReader(stage)),
        *(tool(stage) for tool in TOOLS),
        *(StreamReader(stage), Subscriber(stage), MatchSubscriber(stage)),
        *(Narrow(stage), NarrowSubscriber(stage), Blind(stage)),
    ]
    for user in (director, *listeners, *others):
        user.start()
    most = _wait(stage, seconds)
    stage.over.set()
    for user in others:
        user.join(_PATIENCE_S)
        if user.is_alive():
            stage.fail(user.name, "it waits for an answer that does not come")
    stage.curtain.set()
    director.join(_PATIENCE_S)
    _await_events(stage, listeners[0])
    for listener in listeners:
        listener.stop()
        listener.join(_PATIENCE_S)
    _settle(stage)
    auditor.finish()
    return most


def _wait(stage: Stage, seconds: float) -> Footprint:
    pid = stage.service.process.pid
    began = time.monotonic()
    most, said = footprint(pid), 0.0
    while (took := time.monotonic() - began) < seconds and not stage.over.wait(0.2):
        most = most.and_more(footprint(pid))
        if took > said + _SAID_EVERY_S:
            said = took
            answers = sum(stage.requests.values())
            sys.stderr.write(
                f"{took:.0f} s: {answers} answers, {sum(stage.faults.values())} faults, "
                f"{len(stage.failures)} failures; {footprint(pid)}\n"
            )
    return most


def _await_events(stage: Stage, listener: Listener) -> None:
    """Each exit is to be told, unless the listener was told that it missed some."""
    give_up = time.monotonic() + _PATIENCE_S
    while (missing := listener.missing()) and not listener.lost and time.monotonic() < give_up:
        time.sleep(0.05)
    if missing and not listener.lost:
        stage.fail(listener.name, f"exits are not told: {missing}")


def _settle(stage: Stage) -> None:
    """Wait until the service holds nothing any more; exited targets stay for 5 s."""
    line = Line(stage, OPERATOR)
    info: dict[str, Any] = {}

    def is_at_rest() -> bool:
        info.update(line.ask("GET", "/v1/info").json)
        return (
            info["connections"]["open"] == 1
            and not info["held_bytes"]
            and not any(info["targets"].values())
            and not info["threads"]["busy"]
            and not info["threads"]["stuck"]
        )

    try:
        until(is_at_rest, "the service is at rest", _PATIENCE_S)
    except AssertionError:
        stage.fail("the service", f"is not at rest: {info}")
    line.close()
