"""drgn through the service, on real programs: what it finds is what they have."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from farpeek_api.client import Client
from support.debugged import VARIANTS, start
from support.targets import state_of

drgn = pytest.importorskip("drgn", reason="drgn is not installed")
program = pytest.importorskip("farpeek_api.drgn").program


@pytest.mark.parametrize("variant", VARIANTS)
def test_globals_structures_and_texts_are_those_of_the_target(url: str, variant: str) -> None:
    with start(variant) as process, Client(url) as peek:
        made = program(peek.target(process.pid), keep_s=0)
        assert made["head"].next.value.value_() == 22
        assert made["greeting"].string_() == b"hello from the target"
        before = made["counter"].value_()
        give_up = time.monotonic() + 60
        while (after := made["counter"].value_()) == before:
            assert time.monotonic() < give_up
        assert after > before
        assert made.symbol(made["counter"].address_).name == "counter"
        status = Path(f"/proc/{process.pid}/status").read_text()
        assert "TracerPid:\t0\n" in status
        assert state_of(process.pid) in ("S", "R")


def test_a_program_without_a_name_has_its_symbols(url: str, folder: Path) -> None:
    copy = folder / "gone"
    with start("pie") as process:
        shutil.copy(f"/proc/{process.pid}/exe", copy)
    with start(program=copy) as process, Client(url) as peek:
        copy.unlink()
        assert program(peek.target(process.pid))["head"].next.value.value_() == 22
    assert not list(folder.iterdir())


def test_a_gap_is_a_fault_with_its_address_and_reason(url: str) -> None:
    with start() as process, Client(url) as peek:
        target = peek.target(process.pid)
        made = program(target)
        last = [each for each in target.maps() if each.path == "[stack]"][-1]
        assert len(made.read(last.end - 16, 16)) == 16
        with pytest.raises(drgn.FaultError, match="unmapped") as caught:
            made.read(last.end - 16, 32)
        assert caught.value.address == last.end
        with pytest.raises(drgn.FaultError, match="unmapped"):
            made.read(last.end - 16, 1 << 20)


def test_large_ranges_are_read_whole(url: str) -> None:
    with start() as process, Client(url) as peek:
        target = peek.target(process.pid)
        code = [each for each in target.maps() if each.perms == "r-xp" and each.path]
        largest = max(code, key=lambda each: each.length)
        assert largest.length > 1 << 20
        read = program(target).read(largest.start, largest.length)
        assert read == target.read(largest.start, largest.length)


def test_nothing_is_read_of_one_that_has_exited(url: str) -> None:
    with start() as process, Client(url) as peek:
        made = program(peek.target(process.pid), keep_s=0)
        address = made["counter"].address_
        process.kill()
        process.reap()
        with pytest.raises(drgn.FaultError):
            made.read(address, 8)


def test_without_drgn_the_cure_is_said(folder: Path) -> None:
    (folder / "drgn.py").write_text("raise ImportError\n")
    ran = subprocess.run(
        [sys.executable, "-c", "import farpeek_api.drgn"],
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 1
    assert "pip install 'farpeek[drgn]'" in ran.stderr
