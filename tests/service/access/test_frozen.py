"""Targets that their cgroup has frozen: read as ever, and written or refused, with a reason."""

from __future__ import annotations

import os
import signal
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from farpeek.access import choose
from farpeek.access.probe import probe
from farpeek.errors import TargetStuck
from farpeek.model import Mode, ReadSpec, Regions
from support.freezers import FREEZERS, freezer
from support.targets import start, state_of
from support.waiting import until
from support.writing import held, tracers, write, writers

if TYPE_CHECKING:
    from pathlib import Path


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
