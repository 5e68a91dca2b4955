"""One round: a process is asked for everything while its number goes to the next one."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from endurance.reuse.asking import (
    CAREFUL,
    EVERYTHING,
    GONE,
    IMPOSTOR,
    NAIVE,
    OWN,
    SLOTS,
    SUBSCRIPTION,
    word,
)
from support.reading import proc_mem

if TYPE_CHECKING:
    from collections.abc import Iterable

    from endurance.reuse.asking import Asker, Outcome
    from support.pid_reuse import Respawner

Counts = Counter[tuple[str, str]]  # of ways, and whose the answers were

_ASKED_AFTERWARDS = 3
_BUSY = frozenset({"deadline", "too-busy"})
"""Problems that a busy machine has; `deadline` also where a process is just about to exit."""


@dataclass
class Tally:
    """What was counted, of the service and of the control."""

    rounds: int = 0
    service: Counts = field(default_factory=Counter[tuple[str, str]])
    control: Counts = field(default_factory=Counter[tuple[str, str]])
    strays: int = 0
    control_strays: int = 0
    failures: list[str] = field(default_factory=list[str])


class Rounds:
    """The rounds of one number."""

    def __init__(
        self, number: int, swapping: Respawner, asker: Asker, control: Asker, seed: int
    ) -> None:
        self._number = number
        self._swapping = swapping
        self._asker = asker
        self._control = control
        self._random = random.Random(seed)  # noqa: S311 - the same in every run
        self._generation = swapping.swap_alone()
        self.tally = Tally()

    def run_one(self, *, controlled: bool) -> None:
        """Ask in all ways before the number changes hands, and in some behind that."""
        asked = [self._asker, self._control] if controlled else [self._asker]
        everything = self._random.sample(EVERYTHING, len(EVERYTHING))
        for asker in asked:
            asker.register(self._number, self._generation)
            asker.subscribe()
            asker.begin(everything)
        # Some are answered by then, some are under way, and some are still to be looked at.
        self._asker.await_answer(self._random.choice(everything))
        self._generation = self._swapping.swap_alone()
        afterwards = self._random.sample(EVERYTHING, _ASKED_AFTERWARDS)
        for asker in asked:
            self._count(asker, asker.finish(everything))
            asker.begin(afterwards)
            self._count(asker, asker.finish(afterwards))
            self._count(asker, asker.finish_subscription())
            asker.release()
        self.tally.strays += self._foreign(CAREFUL)
        self.tally.control_strays += self._foreign(NAIVE)
        self.tally.rounds += 1

    @property
    def is_controlled(self) -> bool:
        """Whether the control has met impostors in every way, so that the race is one."""
        met = {way for way, whose in self.tally.control if whose == IMPOSTOR}
        return met == {*EVERYTHING, SUBSCRIPTION} and self.tally.control_strays > 0

    def _count(self, asker: Asker, outcomes: Iterable[Outcome]) -> None:
        is_control = asker is self._control
        counts = self.tally.control if is_control else self.tally.service
        for outcome in outcomes:
            counts[outcome.way, outcome.whose] += 1
            if not is_control and not _is_right(outcome):
                self.tally.failures.append(f"g{asker.generation}: {outcome}"[:2000])

    def _foreign(self, area: int) -> int:
        """Count words that others have written into the process that has the number now."""
        content = proc_mem(self._number, area, 8 * SLOTS)
        assert content is not None
        own = word(self._generation)
        return sum(content[at : at + 8] != own for at in range(0, len(content), 8))


def _is_right(outcome: Outcome) -> bool:
    """Tell whether the service may say so.

    The control's pin is another tracer; a write that meets it is refused.
    """
    if outcome.whose in {OWN, GONE}:
        return True
    return outcome.whose in _BUSY or (outcome.way, outcome.whose) == ("writev", "already-traced")
