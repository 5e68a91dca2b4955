"""Small C programs that are read: built on demand, started, spoken to, and ended in every case."""

from __future__ import annotations

import fcntl
import os
import re
import select
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.ending import Ending, end_process
from support.waiting import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Mapping

SOURCES = Path(__file__).resolve().parent.parent / "targets"
BINARIES = SOURCES / "bin"
NOT_PERMITTED = 77
"""Exit status of a target that cannot be here; its test is skipped."""
_FLAGS = ("-O1", "-Wall", "-Wextra", "-Werror", "-pthread")
# Without a C library, which is rarely there for 32 bits.
_FLAGS_32 = (
    *("-m32", "-O1", "-Wall", "-Wextra", "-Werror", "-nostdlib", "-static", "-ffreestanding"),
    *("-fno-pie", "-no-pie", "-fno-stack-protector"),
)


class CannotBuild(Exception):
    """gcc refuses; the message is its own."""


def build(name: str) -> Path:
    """Compile tests/targets/NAME.c if it, or a header beside it, is newer than its program."""
    source, program = SOURCES / f"{name}.c", BINARIES / name
    newest = max(path.stat().st_mtime for path in (source, *SOURCES.glob("*.h")))

    def is_fresh() -> bool:
        return program.exists() and program.stat().st_mtime >= newest

    if is_fresh():
        return program
    BINARIES.mkdir(exist_ok=True)
    with (BINARIES / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if is_fresh():  # another test run was faster
            return program
        fresh = program.with_suffix(".new")
        flags = _FLAGS_32 if name == "compat" else _FLAGS
        try:
            subprocess.run(
                ["gcc", *flags, "-o", str(fresh), str(source)],
                check=True,
                capture_output=True,
                text=True,
            )
        except (OSError, subprocess.CalledProcessError) as error:
            raise CannotBuild(getattr(error, "stderr", None) or str(error)) from error
        fresh.rename(program)
    return program


class Target(Ending):
    """A running target program; a context manager that leaves no process behind.

    ``addresses`` has what it printed before ``ready``: ``target["marker"]`` is one of them.
    ``program`` is a copy to run instead.
    """

    def __init__(
        self,
        name: str,
        *arguments: object,
        cwd: Path | None = None,
        program: Path | None = None,
    ) -> None:
        self.name = name
        self._process = subprocess.Popen(
            [program or build(name), *(str(argument) for argument in arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            cwd=cwd,
        )
        self._received = b""
        self.addresses: Mapping[str, int] = {}
        try:
            self.await_ready()
        except BaseException as error:
            self.end()
            if isinstance(error, EOFError) and self._process.returncode == NOT_PERMITTED:
                pytest.skip(f"{name}: this kernel, or these privileges, do not allow it")
            raise

    def __getitem__(self, name: str) -> int:
        return self.addresses[name]

    def __contains__(self, name: object) -> bool:
        return name in self.addresses

    @property
    def pid(self) -> int:
        return self._process.pid

    def await_ready(self) -> None:
        """Read the addresses that the program prints when it begins."""
        addresses: dict[str, int] = {}
        while (line := self._line()) != "ready":
            name, _, value = line.partition("=")
            addresses[name] = int(value, 16)
        self.addresses = addresses

    def command(self, line: str) -> str:
        """Send a command and wait for its answer."""
        self.send(line)
        return self._line()

    def send(self, line: str) -> None:
        """Send a command that is answered by no line, or by the end of the process."""
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode() + b"\n")

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send a signal; the process stays a zombie until `reap`."""
        self._process.send_signal(number)

    def await_zombie(self) -> None:
        """Wait until it has exited, without reaping it."""
        os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)

    def reap(self) -> int:
        """Wait for its end and reap it; as Popen.wait answers."""
        return self._process.wait(PATIENCE_S)

    def finish(self) -> int:
        """Close stdin and wait for what the program does about it; its exit status."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        status = self._process.wait(PATIENCE_S)
        self.end()
        return status

    def end(self) -> None:
        """Kill and reap, whatever state it is in."""
        end_process(self._process)

    def _line(self) -> str:
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        give_up = time.monotonic() + PATIENCE_S
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        while b"\n" not in self._received:
            if not poll.poll(max(0.0, give_up - time.monotonic()) * 1000):
                raise TimeoutError(f"{self.name} did not answer within {PATIENCE_S} s")
            received = os.read(descriptor, 65536)
            if not received:
                self._process.wait(PATIENCE_S)
                raise EOFError(f"{self.name} ended instead of answering")
            self._received += received
        line, _, self._received = self._received.partition(b"\n")
        return line.decode()


def start(name: str, *arguments: object, cwd: Path | None = None) -> Target:
    """Start tests/targets/NAME.c with ``arguments``; use the answer in a ``with``."""
    return Target(name, *arguments, cwd=cwd)


def start_32_bits(folder: Path | None = None) -> Target:
    """Start a program of 32 bits, or a copy in ``folder``; skips where that cannot be."""
    try:
        program = build("compat")
    except CannotBuild as reason:
        pytest.skip(f"no program of 32 bits can be built here: {reason}")
    if folder is not None:
        program = Path(shutil.copy(program, folder))
    try:
        return Target("compat", program=program)
    except OSError as reason:  # ENOEXEC of a kernel for 64 bits alone
        pytest.skip(f"no program of 32 bits can be run here: {reason}")


def state_of(pid: int) -> str | None:
    """State letter of /proc/PID/stat, None if there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    found = re.search(r"\) (\w) ", text)
    return found[1] if found else None
