"""gdb's `bt` of 15 frames through the gateway, and through gdbserver, which stops the process."""

from __future__ import annotations

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
    from collections.abc import Iterator

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


def _backtraces(program: Path, place: str, script: Path) -> Side:
    command = ["gdb", "-nx", "-batch", "-ex", f"target remote {place}", "-x", str(script)]

    def side() -> Figures:
        ran = subprocess.run(
            [*command, str(program)], check=True, capture_output=True, text=True, timeout=120
        )
        told = [line for line in ran.stdout.splitlines() if line.startswith("RESULT")]
        return {WALL: float(told[0].split()[1])}

    return side


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
        address = folder / "rsp"
        gateway = (sys.executable, "-m", "farpeek_api", "rsp", "--url", f"unix:{server.path}")
        stack.enter_context(
            Process((*gateway, free.pid, "--listen", f"unix:{address}"), "listening")
        )
        other = folder / "gdbserver"
        stack.enter_context(
            Process(
                ("gdbserver", "--multi", "--attach", other, traced.pid), "Listening", on_stderr=True
            )
        )
        yield Prepared(
            {
                _OURS: _backtraces(program, str(address), script),
                _GDBSERVER: _backtraces(program, str(other), script),
            },
            [Comparison(WALL, "us", _OURS, _GDBSERVER)],
        )


CASE = Case(
    "backtrace",
    "gdb's `bt` of 15 frames, with empty caches, through `farpeek rsp` and through gdbserver, each "
    "on a unix socket",
    _prepare,
    rounds=5,
)
