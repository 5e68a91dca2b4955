"""`python tests/mutants.py`: which small mistakes in the core the tests would not notice.

A seeded sample of mutants (one operator, number, condition or decorator changed) of the service's
modules is tested, one at a time, in a copy of the checkout: by the tests of its own room first,
then by all of the service's that are not slow. Prints the share that was killed, and the change of
each survivor; whoever reads that decides whether it is another program at all.
"""

from __future__ import annotations

import argparse
import ast
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cosmic_ray.commands.init import init
from cosmic_ray.mutating import mutate_and_test
from cosmic_ray.work_db import WorkDB, use_db
from cosmic_ray.work_item import TestOutcome

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cosmic_ray.work_item import MutationSpec

TOP: Final = Path(__file__).resolve().parent.parent
_TIMEOUT_S: Final = 300.0
"""Of one run of tests; a mutant that makes them hang is killed by that."""
_NOT_MEANT: Final = ("ExceptionReplacer",)
"""Operators whose mutants say little: an exception that nobody raises."""


def main() -> int:
    """Test a sample, and say what came of it; 1 if fewer were killed than wanted."""
    arguments = _parse()
    with tempfile.TemporaryDirectory(prefix="farpeek-mutants-") as name:
        copy = Path(name) / "checkout"
        _copy(copy)
        os.chdir(copy)
        os.environ["PYTHONPATH"] = f"{copy / 'service'}:{copy / 'api'}"
        os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
        chosen = _sample(Path(name) / "work.sqlite", arguments)
        survivors = [mutant for mutant in chosen if not _is_killed(mutant)]
    killed = len(chosen) - len(survivors)
    print(f"\n{killed} of {len(chosen)} mutants were killed ({100 * killed / len(chosen):.0f} %)")
    return int(100 * killed < arguments.wanted * len(chosen))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=60, help="mutants to test")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--wanted", type=int, default=0, help="per cent to be killed, or fail")
    parser.add_argument("--only", default="", help="modules whose path contains this")
    return parser.parse_args()


def _copy(to: Path) -> None:
    """Copy what is under version control, so that nobody's work is mutated."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "service", "api", "tests", "docs", "deploy", "bench"],
        cwd=TOP,
        capture_output=True,
        check=True,
    )
    names = [name.decode() for name in listed.stdout.split(b"\0") if name]
    for name in (*names, "pyproject.toml", "README.md"):
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(TOP / name, to / name)


def _sample(database: Path, arguments: argparse.Namespace) -> list[MutationSpec]:
    modules = sorted(Path("service/farpeek").rglob("*.py"))
    wanted = [path for path in modules if path.name != "__init__.py"]
    annotations = {str(path): set(_annotated_lines(path)) for path in wanted}
    with use_db(str(database), WorkDB.Mode.create) as work:
        init([path for path in wanted if arguments.only in str(path)], work, {})
        mutants = [item.mutations[0] for item in work.work_items]
    meant = [
        mutant
        for mutant in mutants
        if not mutant.operator_name.endswith(_NOT_MEANT)
        and not (
            "BitOr" in mutant.operator_name
            and mutant.start_pos[0] in annotations[str(mutant.module_path)]
        )
    ]
    meant.sort(
        key=lambda mutant: (str(mutant.module_path), mutant.operator_name, mutant.occurrence)
    )
    chosen = random.Random(arguments.seed).sample(meant, min(arguments.count, len(meant)))
    print(f"{len(chosen)} of {len(meant)} mutants, seed {arguments.seed}", flush=True)
    return chosen


def _annotated_lines(path: Path) -> Iterator[int]:
    """Lines of annotations, which nobody evaluates: `int | None` is no operator there."""
    for node in ast.walk(ast.parse(path.read_text())):
        for name in ("annotation", "returns"):
            found = getattr(node, name, None)
            if found is not None:
                yield from range(found.lineno, found.end_lineno + 1)


def _is_killed(mutant: MutationSpec) -> bool:
    began = time.monotonic()
    room = Path(str(mutant.module_path)).relative_to("service/farpeek").parent
    folders = [f"tests/service/{room}"] if (Path("tests/service") / room).is_dir() else []
    diff = ""
    for folder in dict.fromkeys((*folders, "tests/service")):
        command = f"{sys.executable} -m pytest -q -x -p no:cacheprovider -m 'not slow' {folder}"
        result = mutate_and_test([mutant], command, _TIMEOUT_S)
        diff = result.diff or diff
        if result.test_outcome is not TestOutcome.SURVIVED:
            break
    survived = result.test_outcome is TestOutcome.SURVIVED
    place = f"{mutant.module_path}:{mutant.start_pos[0]}"
    word = "SURVIVED" if survived else "killed"
    print(f"{word} {place} {mutant.operator_name} ({time.monotonic() - began:.0f} s)", flush=True)
    if survived:
        print(diff, flush=True)
    return not survived


if __name__ == "__main__":
    sys.exit(main())
