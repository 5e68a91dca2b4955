"""gdb's `bt` of 15 frames through the gateway, and through gdbserver, which stops the process."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench import processes
from bench.framework import Case, Comparison, Prepared, Skipped
from bench.processes import TEST_TARGETS, Process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bench.framework import Figures, Side

WALL: Final = "wall"
_OURS, _GDBSERVER = "farpeek rsp", "gdbserver"
_COUNT: Final = 20
_SCRIPT: Final = f"""
import gdb, statistics, time
gdb.execute("set confirm off")
times = []
for _ in range({_COUNT}):
    gdb.execute("maint flush register-cache", to_string=True)
    gdb.execute("maint flush dcache", to_string=True)
    began = time.perf_counter()
    shown = gdb.execute("bt", to_string=True)
    times.append(time.perf_counter() - began)
assert "frame14" in shown, shown
print("RESULT", 1e6 * statistics.median(times))
"""


def _backtraces(program: Path, script: Path, begin: Callable[[], Process]) -> Side:
    def side() -> Figures:
        with begin() as server:  # gdbserver ends with its debugger
            where = ("-ex", f"target remote {_place(server)}", "-x", str(script))
            ran = subprocess.run(
                ["gdb", "-nx", "-batch", *where, str(program)],
                check=True,
                capture_output=True,
                text=True,
                timeout=120,
            )
        told = [line for line in ran.stdout.splitlines() if line.startswith("RESULT")]
        return {WALL: float(told[0].split()[1])}

    return side


def _place(server: Process) -> str:
    """Tell where it listens, by the last number that it has said."""
    *_, port = re.findall(r"\d+", server.said[-1])
    return f"127.0.0.1:{port}"


@contextmanager
def _prepare() -> Iterator[Prepared]:
    for needed in ("gdb", "gdbserver", "gcc"):
        if shutil.which(needed) is None:
            raise Skipped(f"there is no {needed} here")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="farpeek-bench-")))
        program, script = folder / "debugged", folder / "backtraces.py"
        source = TEST_TARGETS / "debugged.c"
        flags = ("-O2", "-g", "-pthread", "-o", str(program), str(source))
        subprocess.run(["gcc", *flags], check=True, capture_output=True)
        script.write_text(_SCRIPT)
        free, traced = (stack.enter_context(Process((program,), "counter")) for _ in range(2))
        server = stack.enter_context(processes.service())
        rsp = (sys.executable, "-m", "farpeek_api", "rsp", "--url", f"unix:{server.path}")
        ours = (*rsp, free.pid, "--listen", "127.0.0.1:0")
        other = ("gdbserver", "--once", "--attach", "127.0.0.1:0", traced.pid)
        yield Prepared(
            {
                _OURS: _backtraces(program, script, lambda: Process(ours, "listening")),
                _GDBSERVER: _backtraces(
                    program, script, lambda: Process(other, "Listening", on_stderr=True)
                ),
            },
            [Comparison(WALL, "us", _OURS, _GDBSERVER)],
        )


CASE = Case(
    "backtrace",
    "gdb's `bt` of 15 frames, with empty caches, through `farpeek rsp` and through gdbserver, each "
    "by TCP",
    _prepare,
    rounds=5,
)
