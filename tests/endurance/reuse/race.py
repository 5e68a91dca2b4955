"""The run, in a pid namespace of its own, where numbers can be given out again."""

from __future__ import annotations

import sys
import time
from collections import Counter
from contextlib import ExitStack
from typing import TYPE_CHECKING

from endurance.footprint import footprint
from endurance.reuse.asking import CAREFUL, NAIVE, Asker
from endurance.reuse.by_number import BY_NUMBER
from endurance.reuse.rounds import Rounds
from support.folders import open_folder
from support.pid_reuse import NUMBER, respawner
from support.wire import Served

if TYPE_CHECKING:
    from collections.abc import Mapping

    from endurance.reuse.rounds import Counts

_SAID_EVERY_S = 10.0
_MOST_FAILURES = 10


def race(rounds: int, seconds: float, controlled_every: int, seed: int) -> dict[str, object]:
    """Do so many rounds, and more if the control needs them, within so many seconds.

    Each ``controlled_every``th is one of the control as well. Gives back what was counted.
    """
    with ExitStack() as stack:

        def serve(*under: str) -> Served:
            folder = stack.enter_context(open_folder())
            return stack.enter_context(Served(folder, "--allow-writes", under=under))

        service, control = serve(), serve(*BY_NUMBER)
        running = Rounds(
            NUMBER,
            stack.enter_context(respawner()),
            stack.enter_context(Asker(service, CAREFUL)),
            stack.enter_context(Asker(control, NAIVE)),
            seed,
        )
        before = footprint(service.process.pid)
        began, took = time.monotonic(), 0.0
        tally, said = running.tally, 0.0
        while took < seconds and len(tally.failures) < _MOST_FAILURES:
            if tally.rounds >= rounds and running.is_controlled:
                break
            running.run_one(controlled=tally.rounds % controlled_every == 0)
            took = time.monotonic() - began
            if took > said + _SAID_EVERY_S:
                said = took
                _say(f"{took:.0f} s: {tally.rounds} rounds, {tally.rounds / took:.1f} a second")
        return {
            "rounds": tally.rounds,
            "seconds": took,
            "service": _by_way(tally.service),
            "control": _by_way(tally.control),
            "strays": tally.strays,
            "control_strays": tally.control_strays,
            "failures": tally.failures,
            "before": before.as_dict(),
            "after": footprint(service.process.pid).as_dict(),
        }


def _by_way(counts: Counts) -> Mapping[str, Mapping[str, int]]:
    found: dict[str, Counter[str]] = {}
    for (way, whose), count in sorted(counts.items()):
        found.setdefault(way, Counter())[whose] = count
    return found


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()
