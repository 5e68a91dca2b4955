"""Processes that the bench starts, and ends in every case: servers, targets, C programs."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
import tempfile
import time
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Self

from bench.framework import Skipped
from bench.wire import Connection

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import TracebackType

HERE = Path(__file__).resolve().parent
NATIVE = HERE / "native"
TEST_TARGETS = HERE.parent / "tests" / "targets"

PAGE = os.sysconf("SC_PAGE_SIZE")
_PATIENCE_S = 30.0
_CPUCLOCK_SCHED = 2
_SERVE = ("-m", "farpeek_api", "serve", "--listen")


class Process:
    """A process that is ready once it has said ``ready`` on one of its pipes."""

    def __init__(self, command: Sequence[object], ready: str, *, on_stderr: bool = False) -> None:
        began = time.perf_counter()
        self._process = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.PIPE,
            stdout=None if on_stderr else subprocess.PIPE,
            stderr=subprocess.PIPE if on_stderr else None,
            bufsize=0,
        )
        self._pipe = self._process.stderr if on_stderr else self._process.stdout
        self._received = b""
        self.said: list[str] = []
        try:
            while not self.said or ready not in self.said[-1]:
                self.said.append(self.line())
        except BaseException:
            self.end()
            raise
        self.start_s = time.perf_counter() - began

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.end()

    @property
    def pid(self) -> int:
        return self._process.pid

    def cpu_ns(self) -> int:
        """CPU time of all its threads, those that have ended included.

        This is the clock that clock_getcpuclockid(3) names. /proc/PID/stat counts in 10 ms.
        """
        return time.clock_gettime_ns(~self.pid << 3 | _CPUCLOCK_SCHED)

    def memory_mib(self) -> dict[str, float]:
        """Rss and Pss: what is shared with other processes counts in full, or in parts."""
        lines = Path(f"/proc/{self.pid}/smaps_rollup").read_text().splitlines()[1:]
        fields = {name: value for name, value, *_ in map(str.split, lines)}
        return {name: int(fields[f"{name}:"]) / 1024 for name in ("Rss", "Pss")}

    def command(self, line: str) -> str:
        """Send a line and wait for the one that answers it."""
        assert self._process.stdin is not None  # noqa: S101 - tells the type checker
        self._process.stdin.write(line.encode() + b"\n")
        return self.line()

    def line(self) -> str:
        """Wait for the next line it says."""
        assert self._pipe is not None  # noqa: S101 - tells the type checker
        poll = select.poll()
        poll.register(self._pipe, select.POLLIN)
        while b"\n" not in self._received:
            if not poll.poll(_PATIENCE_S * 1000):
                raise TimeoutError(f"{self._process.args!r} says nothing")
            received = os.read(self._pipe.fileno(), 65536)
            if not received:
                raise EOFError(f"{self._process.args!r} ended; it said {self.said}")
            self._received += received
        line, _, self._received = self._received.partition(b"\n")
        return line.decode()

    def end(self) -> None:
        """Kill and reap."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        self._process.wait(_PATIENCE_S)
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()


class Server(Process):
    """A server on a unix socket, and on a TCP port where it says so behind that."""

    def __init__(self, command: Sequence[object], path: Path, ready: str = "on unix:") -> None:
        super().__init__([sys.executable, *command], ready, on_stderr=True)
        self.path = path

    def connect(self) -> Connection:
        """Open a connection."""
        return Connection(self.path)

    @property
    def tcp(self) -> tuple[str, int]:
        """Host and port."""
        host, _, port = self.said[-1].rpartition("//")[2].partition(":")
        return host, int(port)

    @property
    def authorization(self) -> str:
        """The header that is asked for on TCP."""
        return f"Authorization: Bearer {(self.path.parent / 'token').read_text().strip()}"


class Native(Process):
    """A C program that prints `name=0xnumber` lines, then `ready`, and then obeys commands."""

    def __init__(self, source: Path, *arguments: object) -> None:
        super().__init__([build(source), *arguments], "ready")
        pairs = (line.split("=") for line in self.said[:-1])
        self.numbers = {name: int(value, 16) for name, value in pairs}


def target(pages: int) -> Native:
    """Start a process with so many filled pages; `numbers["block"]` is the address of the first."""
    return Native(NATIVE / "target.c", pages)


@contextlib.contextmanager
def service(*flags: object) -> Iterator[Server]:
    """Start a `farpeek serve` of the bench's own."""
    with _folder() as folder:
        path = folder / "farpeek.sock"
        with Server([*_SERVE, f"unix:{path}", *flags], path) as server:
            yield server


@contextlib.contextmanager
def uncounted_service() -> Iterator[Server]:
    """Start one that counts nothing of itself."""
    with _folder() as folder:
        path = folder / "farpeek.sock"
        with Server(["-m", "bench.uncounted", *_SERVE[2:], f"unix:{path}"], path) as server:
            yield server


@contextlib.contextmanager
def service_on_tcp(scheme: str = "http", *flags: object) -> Iterator[Server]:
    """Start one that listens on TCP too."""
    with _folder() as folder:
        path = folder / "farpeek.sock"
        command = [*_SERVE, f"unix:{path}", "--listen", f"{scheme}://127.0.0.1:0", *flags]
        with Server(command, path, ready=f"on {scheme}:") as server:
            yield server


@contextlib.contextmanager
def native_server(pid: int) -> Iterator[Path]:
    """Start the C server on a unix socket."""
    with _folder() as folder:
        path = folder / "native.sock"
        with Native(NATIVE / "server.c", pid, "unix", path):
            yield path


@contextlib.contextmanager
def native_server_on_tcp(pid: int) -> Iterator[tuple[str, int]]:
    """Start the C server on a TCP port."""
    with Native(NATIVE / "server.c", pid, "tcp") as server:
        yield "127.0.0.1", server.numbers["port"]


@contextlib.contextmanager
def hello(*flags: object) -> Iterator[Server]:
    """Start a server that says hello."""
    with _folder() as folder:
        path = folder / "hello.sock"
        with Server(["-m", "bench.hello", path, *flags], path) as server:
            yield server


@contextlib.contextmanager
def minimal() -> Iterator[Server]:
    """Start the least server that reads memory with the same libraries."""
    with _folder() as folder:
        path = folder / "minimal.sock"
        with Server(["-m", "bench.minimal", path], path) as server:
            yield server


@contextlib.contextmanager
def bare_loop() -> Iterator[Server]:
    """Start a loop that watches pidfds and does nothing else."""
    with _folder() as folder:
        path = folder / "loop.sock"
        with Server(["-m", "bench.bare_loop", path], path) as server:
            yield server


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="farpeek-bench-") as name:
        yield Path(name)


@cache
def build(source: Path) -> Path:
    """Compile a C program, once a run."""
    program = Path(_programs().name) / source.stem
    command = ["gcc", "-O2", "-pthread", "-o", str(program), str(source)]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except FileNotFoundError:
        raise Skipped("there is no gcc here") from None
    return program


@cache
def _programs() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="farpeek-bench-bin-")  # removed at exit
