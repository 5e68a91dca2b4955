"""The commands for debuggers: what they refuse, and a debugger that connects by itself."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from farpeek_api.cli import statuses
from support.commands import run
from support.debugged import debugger, frames, start
from support.ending import ended
from support.targets import start_32_bits
from support.waiting import PATIENCE_S

if TYPE_CHECKING:
    from pathlib import Path

    from support.sample import Sample


@pytest.mark.parametrize("name", ["gdb", "lldb"])
def test_without_a_debugger_the_cure_is_said(
    sample: Sample, folder: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("PATH", str(folder))
    ran = run(name, sample.pid)
    assert ran.status == statuses.FAILED
    assert ran.error == f"farpeek {name}: {name} is not installed, or not on the PATH\n"


@pytest.mark.parametrize(("script", "status"), [("exit 7", 7), ("kill -9 $$", 137)])
def test_the_exit_status_is_the_debuggers(
    sample: Sample, folder: Path, monkeypatch: pytest.MonkeyPatch, script: str, status: int
) -> None:
    gdb = folder / "gdb"
    gdb.write_text(f"#!/bin/sh\n{script}\n")
    gdb.chmod(0o700)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    assert run("gdb", sample.pid).status == status


def test_a_program_of_32_bits_is_refused() -> None:
    with start_32_bits() as process:
        ran = run("gdb", process.pid)
    assert ran.status == statuses.FAILED
    assert "x86-64 or aarch64" in ran.error


def test_where_to_listen_is_checked(sample: Sample) -> None:
    ran = run("rsp", sample.pid, "--listen", "0.0.0.0:0")
    assert ran.status == statuses.USAGE
    assert "--anywhere" in ran.error


@pytest.mark.skipif(shutil.which("gdb") is None, reason="gdb is not installed")
@pytest.mark.parametrize("kind", ["unix", "tcp"])
def test_a_gdb_connects_twice_and_ctrl_c_ends_the_gateway(folder: Path, kind: str) -> None:
    where = f"unix:{folder}/rsp" if kind == "unix" else "127.0.0.1:0"
    with start() as process:
        command = [sys.executable, "-m", "farpeek_api", "rsp", str(process.pid), "--listen", where]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as gateway:
            assert gateway.stdout is not None
            try:
                told = re.fullmatch(r"listening on (?:unix:)?(.*)\n", gateway.stdout.readline())
                assert told is not None
                for _ in range(2):
                    words = ["-ex", "set sysroot target:", "-ex", f"target remote {told[1]}"]
                    ran = subprocess.run(
                        ["gdb", "-nx", "-batch", *words, "-ex", "bt", "-ex", "detach"],
                        capture_output=True,
                        text=True,
                        check=True,
                    )
                    assert "main" in [function for function, _ in frames(ran.stdout)]
                gateway.send_signal(signal.SIGINT)
                assert gateway.wait(PATIENCE_S) == statuses.INTERRUPTED
            finally:
                gateway.kill()
    assert not (folder / "rsp").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_ends_the_gateway_leaves_no_socket(
    sample: Sample, folder: Path, number: signal.Signals
) -> None:
    words = ["rsp", str(sample.pid), "--listen", f"unix:{folder}/rsp"]
    command = [sys.executable, "-m", "farpeek_api", *words]
    with ended(subprocess.Popen(command, stdout=subprocess.PIPE, text=True)) as gateway:
        assert gateway.stdout is not None
        assert gateway.stdout.readline() == f"listening on unix:{folder}/rsp\n"
        gateway.send_signal(number)
        assert gateway.wait(PATIENCE_S) == 128 + number
    assert not (folder / "rsp").exists()


def test_words_for_gdb_are_its_own() -> None:
    with start() as process:
        assert "it is --write" in debugger(
            "gdb", process.pid, "--", "-nx", "-batch", "-ex", "echo it is --write\\n"
        )
