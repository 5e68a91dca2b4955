"""Targets that their cgroup has frozen: read as ever, and written or refused, with a reason."""

from __future__ import annotations

import os
import signal
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from farpeek.access import choose
from farpeek.access.probe import probe
from farpeek.errors import TargetStuck
from farpeek.model import Mode, ReadSpec, Regions
from support.targets import start, state_of
from support.waiting import until
from support.writing import held, tracers, write, writers

if TYPE_CHECKING:
    from collections.abc import Iterator

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
        self._group = root / f"farpeek-test-{pid}"
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


@pytest.mark.parametrize("stopped", [False, True], ids=["running", "stopped"])
@pytest.mark.parametrize("version", FREEZERS)
def test_a_frozen_target_is_read_and_is_written_or_refused_with_that_reason(
    version: str, tmp_path: Path, *, stopped: bool
) -> None:
    found = writers("pinned")
    assert found is not None
    writer = found[Mode.WAIT]
    reader = choose(probe()).wait
    with (
        ExitStack() as stack,
        start("written", tmp_path / "file") as target,
        held(target.pid) as process,
        freezer(version, target.pid, stack) as group,
    ):
        address = target["untouched"]
        if stopped:
            os.kill(target.pid, signal.SIGSTOP)
            until(lambda: state_of(target.pid) == "T", "it is stopped")
        group.freeze()
        spec = ReadSpec(Regions([address], [8]))
        assert reader.read(process, spec, time.monotonic() + 10).complete
        if version == "v1" and stopped:
            with pytest.raises(TargetStuck, match="frozen by its cgroup"):
                write(writer, process, [address], [b"while ice"])
        else:
            assert write(writer, process, [address], [b"while ice"]).complete
        assert not tracers(target.pid)
        group.thaw()
        if stopped:
            until(lambda: state_of(target.pid) == "T", "it is stopped as before")
        assert write(writer, process, [address], [b"afterwards"]).complete
        if stopped:
            os.kill(target.pid, signal.SIGCONT)
        assert target.command("alive") == "ok"
