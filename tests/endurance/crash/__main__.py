"""`python -m endurance.crash --rounds 200`: a service that is killed under load, again and again.

Ends with status 1 if a target was left traced or stopped, counted no more or holds what nobody
wrote; if the next service did not start; or if a client that follows did not go on.
"""

from __future__ import annotations

import argparse
import random
import sys
from typing import TYPE_CHECKING

from endurance.crash.run import run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from endurance.crash.run import Outcome


def lines(outcome: Outcome) -> Iterator[str]:
    """Write down what was counted."""
    yield f"{outcome.rounds} times killed, {outcome.seconds:.0f} s, seed {outcome.seed}"
    answers = ", ".join(f"{count} {kind}" for kind, count in outcome.answers.most_common())
    yield f"answered meanwhile: {answers}"
    yield f"dumps: {outcome.dumps}, all of them whole; taken up again {outcome.resumed} times"
    yield f"audit: {outcome.lines} lines, one chain over all starts"
    yield f"events: told {outcome.times_lost} times that some were lost"


def main() -> int:
    parser = argparse.ArgumentParser(prog="endurance.crash", description=__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 31))  # noqa: S311
    chosen = parser.parse_args()
    outcome = run(chosen.rounds, chosen.seed)
    for line in (*lines(outcome), *(f"WRONG: {each}" for each in outcome.failures)):
        sys.stdout.write(line + "\n")
    return int(bool(outcome.failures))


if __name__ == "__main__":
    sys.exit(main())
