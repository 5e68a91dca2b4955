"""A process that has imported what `farpeek serve` imports, and forks a service for each request.

preloaded.py DESCRIPTOR. The socket brings what a child inherits as JSON, with its arguments and its
standard input, output and error; the service's number goes back. `support.forked` is the other
side. Nothing here starts a thread, so a fork has all that an exec'ed service has.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import resource
import signal
import socket
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_IMPORTED = ("uvloop", *(f"farpeek_api.serving.{name}" for name in ("server", "tls", "tracing")))
_CLONE = {"x86_64": 56, "aarch64": 220}
_CLONE_PARENT = 0x8000
_PR_SET_PDEATHSIG = 1
_LIMIT = 1 << 20


def _fork_sibling() -> int:
    """Fork as fork(2) does, but a child of our parent's: clone(2), CLONE_PARENT. 0 in the child."""
    python = ctypes.pythonapi
    python.PyOS_BeforeFork()
    number = ctypes.PyDLL(None, use_errno=True).syscall(
        *map(
            ctypes.c_long, (_CLONE[os.uname().machine], _CLONE_PARENT | signal.SIGCHLD, 0, 0, 0, 0)
        )
    )
    if number == 0:
        python.PyOS_AfterFork_Child()
        return 0
    python.PyOS_AfterFork_Parent()
    if number < 0:
        raise OSError(ctypes.get_errno(), "clone")
    return int(number)


def _take_on(request: bytes, descriptors: Sequence[int]) -> list[str]:
    """Take on all that the service is to have; its arguments."""
    asked = json.loads(request)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    for place, descriptor in enumerate(descriptors):
        os.dup2(descriptor, place)
        os.close(descriptor)
    os.chdir(asked["cwd"])
    os.umask(asked["umask"])
    for which, limits in asked["limits"]:
        resource.setrlimit(which, limits)
    os.environ.clear()
    os.environ.update(asked["env"])
    return list(asked["arguments"])


def _main() -> int:
    for name in _IMPORTED:
        importlib.import_module(name)
    with socket.socket(fileno=int(sys.argv[1])) as connection:
        while True:
            request, descriptors, _, _ = socket.recv_fds(connection, _LIMIT, 3)
            if not request:
                return 0
            number = _fork_sibling()
            if number == 0:
                break
            for descriptor in descriptors:
                os.close(descriptor)
            connection.send(str(number).encode())
    sys.argv = ["farpeek", *_take_on(request, descriptors)]
    entry = importlib.import_module("farpeek_api.__main__").main
    return int(entry() or 0)


if __name__ == "__main__":
    sys.exit(_main())
