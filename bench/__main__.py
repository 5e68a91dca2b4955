"""`python -m bench [NAME ...]`: measure all cases, or those of these names.

A run of all of them is written to RESULTS.md beside this file.
"""

from __future__ import annotations

import argparse
import sys

from bench import report
from bench.cases import CASES
from bench.framework import run


def main() -> int:
    """Measure, and print as it goes."""
    arguments = _parse()
    wanted = [case for case in CASES if not arguments.names or case.name in arguments.names]
    facts = report.machine()
    for name, value in facts:
        print(f"{name}: {value}")
    outcomes = []
    for case in wanted:
        outcome = run(case, arguments.rounds)
        print(f"\n{report.text(outcome)}", flush=True)
        outcomes.append(outcome)
    if not arguments.names:
        print(f"\nwritten to {report.write(facts, outcomes)}")
    return 0


def _parse() -> argparse.Namespace:
    names = [case.name for case in CASES]
    parser = argparse.ArgumentParser(prog="python -m bench", description="Figures about farpeek.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(names)}")
    parser.add_argument(
        "--rounds", type=int, help="rounds of each case (each has a number of its own)"
    )
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(names):
        parser.error(f"there is no case {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    return arguments


if __name__ == "__main__":
    sys.exit(main())
