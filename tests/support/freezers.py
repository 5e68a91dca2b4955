"""Cgroups that freeze a process, of both versions."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.folders import OURS
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import ExitStack

# Where each version is mounted, the file that freezes, and what is written to it for that.
FREEZERS = {
    "v1": ("cgroup", "freezer", "freezer.state", "FROZEN", "THAWED"),
    "v2": ("cgroup2", "", "cgroup.freeze", "1", "0"),
}


def _mounted(kind: str, option: str) -> Path | None:
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        head, _, tail = line.partition(" - ")
        filesystem, _source, options = tail.split()[:3]
        if filesystem == kind and (not option or option in options.split(",")):
            return Path(head.split()[4])
    return None


class Freezer:
    """A cgroup of one process."""

    def __init__(self, version: str, pid: int) -> None:
        kind, option, self._name, self._on, self._off = FREEZERS[version]
        root = _mounted(kind, option)
        if root is None or os.geteuid() != 0:
            pytest.skip(f"there is no freezer {version} here")
        self._root = root
        self._group = root / f"{OURS}-{pid}"
        try:
            self._group.mkdir()
            (self._group / "cgroup.procs").write_text(str(pid))
        except OSError:
            pytest.skip(f"the freezer {version} cannot be used here")

    def freeze(self) -> None:
        (self._group / self._name).write_text(self._on)
        until(self._is_frozen, "it is frozen")

    def _is_frozen(self) -> bool:
        if self._name == "freezer.state":
            return (self._group / self._name).read_text().strip() == "FROZEN"
        return "frozen 1" in (self._group / "cgroup.events").read_text()

    def thaw(self) -> None:
        (self._group / self._name).write_text(self._off)

    def remove(self) -> None:
        def is_gone() -> bool:
            try:
                self._group.rmdir()
            except OSError:
                return False
            return True

        until(is_gone, "the cgroup is empty")


@contextmanager
def freezer(version: str, pid: int, stack: ExitStack) -> Iterator[Freezer]:
    made = Freezer(version, pid)
    stack.callback(made.remove)  # once the process has ended
    try:
        yield made
    finally:
        made.thaw()
