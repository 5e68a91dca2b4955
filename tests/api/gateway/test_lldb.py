"""lldb through the gateway, on a real program: its frames are those that gdb finds by ptrace."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import threading
from typing import TYPE_CHECKING

import pytest

from farpeek_api.client import Client
from farpeek_api.gateway import session
from farpeek_api.gateway.inferior import Inferior
from farpeek_api.gateway.listening import Connections, listener
from support.debugged import DEBUGGER_S, build, by_ptrace, frames, start
from support.targets import state_of

if TYPE_CHECKING:
    from pathlib import Path

COMMANDS = (
    "thread backtrace all",
    "p head->next->value",
    "x/s greeting",
    "p counter",
    "continue",
    "p counter",
    "image list",
)


@pytest.mark.skipif(shutil.which("lldb") is None, reason="lldb is not installed")
def test_backtraces_and_data_are_those_under_ptrace(url: str, folder: Path) -> None:
    with start() as process, Client(url) as peek:
        target = peek.target(process.pid)

        def serve(connection: socket.socket) -> None:
            session.serve(connection, Inferior(target, None, writable=False))

        with listener(f"unix:{folder}/rsp") as made:
            thread = threading.Thread(target=Connections(serve).accept, args=(made,))
            thread.start()
            try:
                shown = _lldb(folder / "rsp")
            finally:
                made.shutdown(socket.SHUT_RDWR)
                thread.join()
        # It sends `k` at its end.
        assert state_of(process.pid) in ("S", "R")
        traced = by_ptrace(process.pid, "thread apply all bt")
    parts = re.split(r"^[* ] thread #\d+, ", shown, flags=re.MULTILINE)
    by_thread = [_frames(part) for part in parts]
    of_gdb = [frames(part) for part in re.split(r"^Thread \d+ \(", traced, flags=re.MULTILINE)]
    mine = sorted(_own(part) for part in by_thread if _own(part))
    assert mine == sorted(_own(part) for part in of_gdb if _own(part))
    assert len(mine) == 3
    assert "$0 = 22" in shown
    assert '"hello from the target"' in shown
    before, after = (int(value) for value in re.findall(r"\(volatile long\) \$\d = (\d+)", shown))
    assert before < after
    assert "/libc.so.6" in shown


def _lldb(path: Path) -> str:
    connect = f"process connect --plugin gdb-remote unix-connect://{path}"
    commands = (f"target create {build('pie')}", connect, *COMMANDS)
    words = [word for each in commands for word in ("-o", each)]
    ran = subprocess.run(
        ["lldb", "--no-lldbinit", "-b", *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=DEBUGGER_S,
        check=True,
    )
    return ran.stdout


def _frames(text: str) -> list[tuple[str, str]]:
    found = re.findall(r"frame #\d+: 0x\w+ [^`]+`(\w+)(?:\(.*\))? at (\w+\.\w+:\d+)", text)
    return [(str(function), str(line)) for function, line in found]


def _own(found: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Of the program itself, but for the thread whose frame is an inlined one to gdb alone."""
    if "commands" in [function for function, _ in found]:
        return []
    return [(function, line) for function, line in found if line.startswith("debugged.c")]
