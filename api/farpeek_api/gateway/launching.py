"""Starts a debugger beside a gateway of its own, and ends when it does."""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from farpeek_api.gateway.listening import Connections, listener

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from farpeek_api.gateway.copies import Copies


class NotInstalled(Exception):
    """There is no such program."""


@contextlib.contextmanager
def gateway(serve: Callable[[socket.socket], None]) -> Generator[Path]:
    """Serve debuggers on a unix socket, in a folder of this user's alone; its path."""
    with tempfile.TemporaryDirectory(prefix="farpeek-") as folder:
        path = Path(folder, "rsp")
        with listener(f"unix:{path}") as made:
            thread = threading.Thread(target=Connections(serve).accept, args=(made,), daemon=True)
            thread.start()
            try:
                yield path
            finally:
                made.shutdown(socket.SHUT_RDWR)  # close(2) would leave accept(2) where it is
                thread.join()


def find(program: str) -> str:
    """Find a debugger. Raises NotInstalled."""
    found = shutil.which(program)
    if found is None:
        raise NotInstalled(f"{program} is not installed, or not on the PATH")
    return found


def run(program: str, words: Sequence[str]) -> int:
    """Run a debugger that was found in the foreground; its exit status, as a shell has it.

    Ctrl-C is the debugger's: it interrupts what that is at, and does not end this.
    """
    before = signal.signal(signal.SIGINT, _do_nothing)
    try:
        status = subprocess.run([program, *words], check=False).returncode  # noqa: S603 - what was asked for
    finally:
        signal.signal(signal.SIGINT, before)
    return 128 - status if status < 0 else status


def _do_nothing(number: int, frame: object) -> None:
    """Be a handler: SIG_IGN would be the debugger's, too."""
    del number, frame


def gdb_words(path: Path, words: Sequence[str], *, writable: bool) -> list[str]:
    """Give the words of a gdb that connects to a gateway."""
    settings = [
        "set non-stop off",
        "set sysroot target:",  # files come through the gateway, from wherever the target has them
        "set may-call-functions off",
        "set may-insert-breakpoints on",
        f"set may-write-memory {'on' if writable else 'off'}",
        "set may-write-registers off",
        "set remotetimeout 60",
    ]
    begin = [word for each in settings for word in ("-iex", each)]
    return ["-q", *begin, "-ex", f"target remote {path}", *words]


def lldb_words(path: Path, copies: Copies, words: Sequence[str]) -> list[str]:
    """Give the words of an lldb that connects to a gateway, and takes the copies for the files."""
    commands = [f"platform select --sysroot {copies.root} remote-linux"]
    if copies.program is not None:
        commands.append(f"target create {copies.program.path}")
    commands.append(f"process connect --plugin gdb-remote unix-connect://{path}")
    return [*(word for each in commands for word in ("-o", each)), *words]
