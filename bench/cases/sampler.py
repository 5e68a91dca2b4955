"""Stacks of Python processes, 20 times a second: examples/stacks.py, and py-spy on each of them."""

from __future__ import annotations

import re
import resource
import shutil
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from bench import processes
from bench.framework import Case, Comparison, Prepared, Skipped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from bench.framework import Figures, Side

CPU: Final = "CPU a sample"
_HZ: Final = 20
_LONG_S, _SHORT_S = 12, 2
_EXAMPLE: Final = Path(__file__).parents[2] / "examples" / "stacks.py"
_OF_THE_SERVICE: Final = "of the service"
_OURS, _PY_SPY = "plans", "py-spy"
_WAITS: Final = """
import threading

gate = threading.Event()

def recurse(depth):
    if depth:
        return recurse(depth - 1)
    gate.wait()

for _ in range(3):
    threading.Thread(target=recurse, args=(12,), daemon=True).start()
print("ready", flush=True)
recurse(12)
"""


_WORKS: Final = """
import threading

def recurse(depth):
    return recurse(depth - 1) + 1 if depth else 0

def work():
    while True:
        recurse(24)

for _ in range(3):
    threading.Thread(target=work, daemon=True).start()
print("ready", flush=True)
work()
"""


def _used_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _run(commands: Sequence[Sequence[object]]) -> tuple[float, str]:
    """Run programs at once, to their end; the CPU time that they took, and what they complain."""
    before = _used_s()
    running = [
        subprocess.Popen(
            [str(word) for word in command],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for command in commands
    ]
    told = [each.communicate()[1] for each in running]
    assert not any(each.returncode for each in running), told  # noqa: S101
    return _used_s() - before, "".join(told)


class _Cost(NamedTuple):
    """CPU seconds, the service's among them, and how many samples came of them."""

    all_s: float
    service_s: float
    samples: int


def _a_sample(run: Callable[[int], _Cost]) -> Figures:
    """Find what a sample of one process costs, in us: by what is more in a long run."""
    short, long = run(_SHORT_S), run(_LONG_S)
    count = long.samples - short.samples
    return {
        CPU: 1e6 * (long.all_s - short.all_s) / count,
        _OF_THE_SERVICE: 1e6 * (long.service_s - short.service_s) / count,
    }


def _sampling(server: processes.Server, pids: Sequence[int]) -> Side:
    words = [word for pid in pids for word in ("--pid", pid)]

    def run(seconds: int) -> _Cost:
        before = server.cpu_ns()
        options = ("--url", f"unix:{server.path}", "--seconds", seconds, "--hz", _HZ)
        client_s, told = _run([(sys.executable, _EXAMPLE, *options, *words)])
        service_s = (server.cpu_ns() - before) / 1e9
        found = re.search(r"(\d+) samples of", told)
        assert found is not None, told  # noqa: S101
        return _Cost(client_s + service_s, service_s, int(found[1]))

    return partial(_a_sample, run)


def _spying(program: str, pids: Sequence[int]) -> Side:
    options = ("--nonblocking", "--idle", "--format", "raw", "--output", "/dev/null")

    def run(seconds: int) -> _Cost:
        timing = ("--rate", _HZ, "--duration", seconds)
        used_s, _ = _run([(program, "record", *options, *timing, "--pid", pid) for pid in pids])
        return _Cost(used_s, used_s, seconds * _HZ * len(pids))

    return partial(_a_sample, run)


@contextmanager
def _prepare(script: str, count: int, at_most: float | None) -> Iterator[Prepared]:
    near = Path(sys.executable).with_name("py-spy")
    program = str(near) if near.exists() else shutil.which("py-spy")
    if program is None:
        raise Skipped("there is no py-spy here")
    with ExitStack() as stack:
        started = [
            stack.enter_context(processes.Process((sys.executable, "-c", script), "ready"))
            for _ in range(count)
        ]
        server = stack.enter_context(processes.service())
        pids = [each.pid for each in started]
        yield Prepared(
            {_OURS: _sampling(server, pids), _PY_SPY: _spying(program, pids)},
            [
                Comparison(CPU, "us", _OURS, _PY_SPY, at_most=at_most),
                Comparison(_OF_THE_SERVICE, "us", _OURS, _PY_SPY),
            ],
        )


ONE = Case(
    "sampler",
    f"stacks of a Python process of four threads that wait, by plans at {_HZ} Hz, against "
    "`py-spy record --nonblocking`: CPU time a sample, without what it takes to start",
    partial(_prepare, _WAITS, 1, 2.0),
    rounds=3,
)
TWENTY = Case(
    "samplers",
    f"the same of 20 such processes, all by one connection at {_HZ} Hz, against 20 of py-spy",
    partial(_prepare, _WAITS, 20, None),
    rounds=3,
)
BUSY = Case(
    "sampler-busy",
    f"stacks of a Python process of four threads that run all the time, by plans at {_HZ} Hz, "
    "against `py-spy record --nonblocking`: CPU time a sample; nothing is as it was the last time",
    partial(_prepare, _WORKS, 1, None),
    rounds=3,
)
