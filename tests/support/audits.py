"""Audits of real services: their lines, and what `farpeek audit verify` says of them."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.serving import Service

Line = dict[str, Any]
MEMBERS = [
    *("time", "seq", "client", "peer", "request_id", "verb", "target", "ranges", "range_count"),
    *("bytes", "gaps", "outcome", "duration_us", "prev"),
]
"""Of a line of what was done, but for those that only some have."""


def lines_in(text: str) -> list[Line]:
    """Return the lines of an audit, which may be among others, or cut off."""
    found: list[Line] = []
    for line in text.splitlines():
        with contextlib.suppress(ValueError):
            found += [each for each in [json.loads(line)] if "prev" in each]
    return found


def done_in(text: str) -> list[Line]:
    """Return those of what was done: not of starts, stops, ..."""
    return [line for line in lines_in(text) if "event" not in line]


def logged(service: Service, wanted: Callable[[Line], object], count: int = 1) -> list[Line]:
    """Wait for so many lines on the service's stderr that are as wanted; return all such."""

    def found() -> list[Line]:
        whole = service.log.rpartition("\n")[0]
        return [line for line in done_in(whole) if wanted(line)]

    until(lambda: len(found()) >= count, f"there are {count} lines in the audit")
    return found()


def left_in(path: Path, wanted: Callable[[Line], object], count: int = 1) -> list[Line]:
    """Do the same for a file."""

    def found() -> list[Line]:
        whole = path.read_text().rpartition("\n")[0] if path.exists() else ""
        return [line for line in lines_in(whole) if wanted(line)]

    until(lambda: len(found()) >= count, f"there are {count} lines in {path.name}")
    return found()


def verified(*paths: Path | str, status: int = 0) -> Any:  # noqa: ANN401 - JSON
    """Run `farpeek audit verify --json`; what it says."""
    done = subprocess.run(
        [sys.executable, "-m", "farpeek_api", "audit", "verify", "--json", *map(str, paths)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status, done
    return json.loads(done.stdout)
