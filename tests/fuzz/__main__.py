"""Fuzzes each target for its share of the inputs, guided by coverage, from the corpus that is kept.

What is found is in build/fuzz/TARGET; `python -m fuzz TARGET FILE` does one input again.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).parent
BUILD = HERE.parents[1] / "build" / "fuzz"
INPUTS = 200_000
LONGEST_INPUT_S = 5
MOST_MEMORY_MB = 1024


def main() -> int:
    """Fuzz; 1 if anything was found."""
    parser = argparse.ArgumentParser("fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=INPUTS, help="in all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("target", nargs="?")
    parser.add_argument("file", nargs="?", type=Path)
    chosen = parser.parse_args()
    if chosen.file is not None:
        from fuzz.table import TARGETS  # noqa: PLC0415 - without atheris

        TARGETS[chosen.target](chosen.file.read_bytes())
        return 0
    from fuzz import guided  # noqa: PLC0415 - it instruments what is imported

    names = [chosen.target] if chosen.target else list(guided.TARGETS)
    share = -(-chosen.inputs // len(names))
    results = [_fuzz(guided.fuzz, name, share, chosen.seed) for name in names]
    found = sum(is_found for _, is_found in results)
    print(f"{'all':18} {sum(count for count, _ in results):>8} inputs  findings: {found}")
    return 1 if found else 0


def _fuzz(
    fuzz: Callable[[str, list[str]], None], name: str, inputs: int, seed: int
) -> tuple[int, bool]:
    """Fuzz one target in a process of its own; how many inputs that were, and if one is bad."""
    folder = BUILD / name
    grown = folder / "corpus"
    grown.mkdir(parents=True, exist_ok=True)
    flags = [f"-runs={inputs}", f"-seed={seed}", "-max_len=4096", f"-artifact_prefix={folder}/"]
    flags += [f"-timeout={LONGEST_INPUT_S}", f"-rss_limit_mb={MOST_MEMORY_MB}"]
    log = folder / "log"
    child = os.fork()
    if not child:
        with log.open("wb") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        fuzz(name, [*flags, str(grown), str(HERE / "corpus" / name)])
        os._exit(3)  # libFuzzer has ended the process
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    text = log.read_text(errors="replace")
    counted = re.findall(r"^(?:Done |#)(\d+)", text, re.MULTILINE)
    covered = re.findall(r" cov: (\d+)", text)
    count = int(counted[-1]) if counted else 0
    verdict = f"FOUND, see {log}" if status else "nothing found"
    edges = covered[-1] if covered else "0"
    print(f"{name:18} {count:>8} inputs  {edges:>6} edges  {verdict}", flush=True)
    return count, bool(status)


if __name__ == "__main__":
    sys.exit(main())
