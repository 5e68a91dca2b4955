"""Services that are forked from a process that has imported all they need, `support.preloaded`.

A start takes 0.2 s instead of 1.2 s, nearly all of which are imports. A fork is a child of this
process, with its own descriptors, folder and environment, as any other is. What differs is what an
exec gives: the command line in /proc, and what an interpreter takes from its environment.
"""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import IO

_PATIENCE_S: Final = 60.0
_LIMITS: Final = [getattr(resource, name) for name in dir(resource) if name.startswith("RLIMIT_")]


class _Preloaded:
    """The process that is forked from."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connection, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._connection.settimeout(_PATIENCE_S)
        program = Path(__file__).with_name("preloaded.py")
        with theirs:
            number = theirs.fileno()
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", sys.executable, str(program), str(number)],
                pass_fds=[number],
                cwd="/",
            )

    def fork(self, request: Mapping[str, object], descriptors: Sequence[int]) -> int:
        """Fork a child of our own; its number."""
        with self._lock:
            socket.send_fds(self._connection, [json.dumps(request).encode()], descriptors)
            return int(self._connection.recv(16))

    def end(self) -> None:
        """It ends with its socket."""
        self._connection.close()
        self._process.wait(_PATIENCE_S)


_preloaded: list[_Preloaded] = []


def can_fork() -> bool:
    """Whether a service may be forked here.

    It ends with the thread that has started what it is forked from, PR_SET_PDEATHSIG of prctl(2),
    and that has to be one that does not end before the tests do.
    """
    return bool(_preloaded) or threading.current_thread() is threading.main_thread()


def end() -> None:
    """End the process that is forked from, if there is one."""
    while _preloaded:
        _preloaded.pop().end()


def _inherited() -> dict[str, object]:
    """What a child of this process has from it at this moment."""
    status = Path("/proc/thread-self/status").read_text()
    return {
        "umask": int(status.partition("Umask:")[2].split()[0], 8),
        "limits": [(which, resource.getrlimit(which)) for which in _LIMITS],
    }


class Forked:
    """`farpeek` with these arguments, in `/` and without input: what tests use of Popen."""

    stdin = stdout = None

    def __init__(
        self, arguments: Sequence[str], environment: Mapping[str, str], stderr: IO[str]
    ) -> None:
        if not _preloaded:
            _preloaded.append(_Preloaded())
        request = {"arguments": arguments, "env": dict(environment), "cwd": "/", **_inherited()}
        with Path(os.devnull).open() as nothing:
            descriptors = (nothing.fileno(), sys.__stdout__.fileno(), stderr.fileno())
            self.pid = _preloaded[0].fork(request, descriptors)
        self.args = ("farpeek", *arguments)
        self.returncode: int | None = None
        self._lock = threading.Lock()
        self._pidfd = os.pidfd_open(self.pid)

    def poll(self) -> int | None:
        """Return the status if it has ended, as Popen does."""
        with self._lock:
            if self.returncode is None:
                self.returncode = self._ended()
                if self.returncode is not None:
                    os.close(self._pidfd)
            return self.returncode

    def _ended(self) -> int | None:
        try:
            number, status = os.waitpid(self.pid, os.WNOHANG)
        except ChildProcessError:  # somebody else has reaped it; Popen says 0, too
            return 0
        return os.waitstatus_to_exitcode(status) if number else None

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end; the status. TimeoutExpired after so many seconds."""
        if self.poll() is None:
            ended = select.poll()
            ended.register(self._pidfd, select.POLLIN)
            if not ended.poll(None if timeout is None else timeout * 1000):
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
        status = self.poll()
        assert status is not None
        return status

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended and been reaped."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)
