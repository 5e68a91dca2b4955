"""`python -m endurance.soak --seconds 600`: all that clients and targets do, at once, for so long.

Ends with status 1 if any answer was neither right nor a problem that was to be expected, or if the
service has kept anything. The choices of each client are the same in every run of a seed.
"""

from __future__ import annotations

import argparse
import random
import sys
from typing import TYPE_CHECKING

from endurance.soak.run import run
from farpeek.targets.events import RING_SIZE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from endurance.soak.run import Outcome

_WARMING_S = 20.0


def lines(outcome: Outcome) -> Iterator[str]:
    """Write down what was counted."""
    yield f"{outcome.seconds:g} s, seed {outcome.seed}"
    for title, counted in (
        ("answers", outcome.requests),
        ("faults", outcome.faults),
        ("losses", outcome.losses),
    ):
        yield f"{title}: {sum(counted.values())}"
        yield from (f"  {count:9}  {kind}" for kind, count in counted.most_common())
    yield f"the service at first: {outcome.before}"
    yield f"         at the most: {outcome.most}"
    yield f"          at the end: {outcome.after}"
    most = ", ".join(f"{count} {name}" for name, count in outcome.grown.most_common(5))
    yield f"objects more than at first, but for events: {most or 'none'}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="endurance.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 31))  # noqa: S311
    chosen = parser.parse_args()
    sys.stderr.write(f"seed {chosen.seed}\n")
    outcome = run(chosen.seconds, chosen.seed, _WARMING_S, RING_SIZE)
    wrong = outcome.verdict()
    for line in (*lines(outcome), *(f"WRONG: {each}" for each in wrong)):
        sys.stdout.write(line + "\n")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
