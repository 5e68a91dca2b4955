"""`python -m endurance.reuse --rounds 100000`: forced reuse of process numbers, over HTTP.

Ends with status 1 if any answer was not the target's own, if a write has met another process, or if
the control saw nothing of that kind, which would make the rest worth nothing.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

from endurance.reuse.asking import EVERYTHING, GONE, IMPOSTOR, OWN, SUBSCRIPTION
from support.namespaces import call_in_private_pid_namespace

if TYPE_CHECKING:
    from collections.abc import Iterator

_STARTING_S = 60.0


def run(rounds: int, seconds: float, controlled_every: int, seed: int) -> Any:  # noqa: ANN401 - JSON
    """Do it in a pid namespace."""
    return call_in_private_pid_namespace(
        "endurance.reuse.race:race",
        patience_s=seconds + _STARTING_S,
        rounds=rounds,
        seconds=seconds,
        controlled_every=controlled_every,
        seed=seed,
    )


def verdict(seen: Any) -> list[str]:  # noqa: ANN401 - as `run` gives it
    """Tell what stands against the run; nothing is as it should be."""
    wrong = list(seen["failures"])
    impostors = sum(counts.get(IMPOSTOR, 0) for counts in seen["service"].values())
    if impostors or seen["strays"]:
        wrong.append(f"{impostors} answers of impostors, {seen['strays']} stray writes")
    wrong += [
        f"the control met no impostor by {way}, so this run proves nothing of it"
        for way in (*EVERYTHING, SUBSCRIPTION)
        if not seen["control"].get(way, {}).get(IMPOSTOR)
    ]
    if not seen["control_strays"]:
        wrong.append(
            "the control wrote into no other process, so this run proves nothing of writes"
        )
    return wrong


def _lines(seen: Any) -> Iterator[str]:  # noqa: ANN401 - the same
    rate = seen["rounds"] / seen["seconds"]
    yield f"{seen['rounds']} rounds in {seen['seconds']:.0f} s, {rate:.1f} a second"
    yield f"{'':24}{'service':>31}{'control':>31}"
    yield f"{'':24}{(f'{OWN:>9}{GONE:>10}{IMPOSTOR:>12}') * 2}"
    for way, counts in seen["service"].items():
        sides = (counts, seen["control"].get(way, {}))
        figures = "".join(
            f"{side.get(OWN, 0):9}{side.get(GONE, 0):10}{side.get(IMPOSTOR, 0):12}"
            for side in sides
        )
        others = {
            whose: count for whose, count in counts.items() if whose not in {OWN, GONE, IMPOSTOR}
        }
        yield f"{way:24}{figures}  {others or ''}".rstrip()
    strays = f"{seen['strays']} by the service, {seen['control_strays']} by the control"
    yield f"words written into another process: {strays}"
    yield f"the service at first: {seen['before']}"
    yield f"          at the end: {seen['after']}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="endurance.reuse", description=__doc__)
    parser.add_argument("--rounds", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=7200.0, help="it ends after that")
    parser.add_argument("--controlled-every", type=int, default=10, metavar="N")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="print all that was counted")
    chosen = parser.parse_args()
    seen = run(chosen.rounds, chosen.seconds, chosen.controlled_every, chosen.seed)
    wrong = verdict(seen)
    shown = [json.dumps(seen, indent=1)] if chosen.json else _lines(seen)
    for line in (*shown, *(f"WRONG: {each}" for each in wrong)):
        sys.stdout.write(line + "\n")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
