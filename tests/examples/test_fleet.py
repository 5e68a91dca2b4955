"""The fleet that `make demo-fleet` shows: all of it works, and nothing is left of it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from support.folders import open_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLE = Path(__file__).parents[2] / "examples" / "fleet.py"


def of_it(folder: Path) -> Iterator[str]:
    """Find processes whose command lines name the folder."""
    for each in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = each.read_bytes()
        except OSError:
            continue
        if os.fsencode(folder) in words:
            yield words.decode(errors="replace")


def test_it_shows_a_fleet_and_leaves_nothing_behind() -> None:
    with open_folder() as folder:
        done = subprocess.run(
            [sys.executable, EXAMPLE],
            env={**os.environ, "TMPDIR": str(folder)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        for node in ("n1", "n2", "n3"):
            assert f"{node}  counters  running" in done.stdout
        assert "n2  offline" in done.stdout
        assert "n2  silent" in done.stdout
        assert not list(folder.iterdir())
        assert not list(of_it(folder))
