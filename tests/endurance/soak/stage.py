"""The service with its policy, the targets, and what all threads of the run share."""

from __future__ import annotations

import random
import sys
import threading
from collections import Counter
from typing import TYPE_CHECKING

from endurance.soak import counted
from endurance.soak.actors import RUBY, Cast
from endurance.soak.history import History, Rules
from farpeek_api.policy import tokens
from support.policies import Policed, entry

if TYPE_CHECKING:
    from contextlib import ExitStack
    from pathlib import Path

OPERATOR, NARROW, BLIND = (tokens.make() for _ in range(3))
"""Tokens of who may do everything, who may read ruby by nowait, and who may see nothing."""

_NARROW_VERBS = ["inspect", "register", "read", "events"]
RULES = (
    Rules("ruby may be read"),
    Rules("ruby may be seen", may_read=False),
    Rules("there is no such client", knows_it=False),
)
BROKEN = ("[clients.x]\nverbs = 7\n", "[clients\n", "", "[clients.x]\nverbz = []\n")
_MOST_FAILURES = 20


def policy(rules: Rules, folder: Path) -> str:
    """Write the policy with those rules of the narrow client, for programs in ``folder`` alone."""
    text = entry("operator", OPERATOR, rest='targets = [{ exe = "*" }]')
    text += entry("blind", BLIND, rest='targets = [{ exe = "/no/such/program" }]')
    if not rules.knows_it:
        return text
    verbs = [verb for verb in _NARROW_VERBS if verb != "read" or rules.may_read]
    rest = f'modes = ["nowait"]\ntargets = [{{ exe = "{folder / RUBY}" }}]'
    return text + entry("narrow", NARROW, verbs, rest)


class Stage:
    """What is shared."""

    def __init__(self, folder: Path, stack: ExitStack, seed: int) -> None:
        self.seed = seed
        self.folder = folder
        self.rules = History(RULES[0])
        self.audit = folder / "audit.log"
        flags = ("--allow-writes", "--deadline", "5", "--exited-ttl", "5")
        flags += ("--audit", str(self.audit))
        self._counts = folder / "counts"
        how = {"under": counted.COUNTED, "environment": counted.environment(self._counts)}
        made = Policed(folder, policy(RULES[0], folder), *flags, **how)
        self.service = stack.enter_context(made)
        self.cast = Cast(folder, stack)
        self.over = threading.Event()
        self.curtain = threading.Event()
        """Behind it targets end; until then the thread that has started them has to live."""
        self.counting = threading.Lock()
        self.requests: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.losses: Counter[str] = Counter()
        self.failures: list[str] = []

    def begin(self) -> None:
        """Begin anew, with the same service, which is at rest."""
        self.cast.by_id.clear()
        self.cast.spotlight = None
        for each in (self.requests, self.faults, self.losses):
            each.clear()
        self.over.clear()
        self.curtain.clear()

    def objects(self) -> Counter[str]:
        """Count what the service is made of."""
        return counted.objects(self.service.process.pid, self._counts)

    def random(self, name: str) -> random.Random:
        """Make a source of choices that are the same in every run of the seed."""
        return random.Random(f"{self.seed} {name}")  # noqa: S311 - the same in every run

    def fail(self, who: str, what: str) -> None:
        """Write down what was wrong; the run ends when it is too much."""
        self.failures.append(f"{who}: {what}"[:3000])
        sys.stderr.write(f"WRONG: {self.failures[-1]}\n")
        if len(self.failures) >= _MOST_FAILURES:
            self.over.set()

    def reload(self, rules: Rules) -> None:
        """Have other rules."""
        text = policy(rules, self.folder)
        self.rules.change(rules, lambda: self.service.reload(text))

    def reload_broken(self, text: str) -> None:
        """Have a file with a mistake read; the policy stays."""
        self.service.reload(text)
