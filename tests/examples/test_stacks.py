"""The sampler of Python stacks sees what py-spy sees, in one round trip a sample."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.ending import end_process
from support.folders import open_folder
from support.wire import Served

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLE = Path(__file__).parents[2] / "examples" / "stacks.py"
WAITS = """
import threading, sys

gate = threading.Event()
ready = threading.Semaphore(0)

class Deep:
    def recurse(self, n):
        if n:
            return self.recurse(n - 1)
        ready.release()
        gate.wait()

def worker():
    Deep().recurse(5)

def naïve_名前():
    gate.wait()

for _ in range(3):
    threading.Thread(target=worker, daemon=True).start()
for _ in range(3):
    ready.acquire()
print("ready", flush=True)
naïve_名前()
"""
KNOWN = ("3.11", "3.13")


def _pythons() -> list[object]:
    """Find one interpreter of each version that the example knows."""
    found: list[object] = []
    for version in KNOWN:
        name = f"python{version}"
        near = sorted(Path(sys.base_prefix).parent.glob(f"{version}*/bin/{name}"))
        # pyenv's shims are on PATH for versions, too, that they refuse to run.
        path = next((str(each) for each in near), None) or shutil.which(name)
        reason = f"there is no {name} here"
        skip = pytest.mark.skipif(path is None, reason=reason)
        found.append(pytest.param(path, id=version, marks=skip))
    return found


@pytest.fixture(scope="module")
def service() -> Iterator[Served]:
    with open_folder() as folder, Served(folder) as served:
        yield served


def waiting(python: str, stack: ExitStack) -> subprocess.Popen[str]:
    """Start a program that has come to its rest: the tests' own venv is not for it."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL"))}
    process = subprocess.Popen(
        [python, "-c", WAITS], stdout=subprocess.PIPE, text=True, env=environment
    )
    stack.callback(end_process, process)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def sampled(service: Served, *words: object) -> tuple[dict[str, int], str]:
    ran = subprocess.run(
        [sys.executable, EXAMPLE, "--url", f"unix:{service.path}", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    pairs = (line.rpartition(" ") for line in ran.stdout.splitlines())
    return {stack: int(count) for stack, _, count in pairs}, ran.stderr


def by_py_spy(pid: int) -> dict[int, list[str]]:
    """Return each thread's functions by py-spy, the outermost first."""
    program = shutil.which("py-spy") or str(Path(sys.executable).with_name("py-spy"))
    ran = subprocess.run(
        [program, "dump", "--nonblocking", "--json", "--pid", str(pid)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return {
        each["os_thread_id"]: [frame["name"] for frame in reversed(each["frames"])]
        for each in json.loads(ran.stdout)
    }


@pytest.mark.parametrize("python", _pythons())
def test_frames_equal_those_of_py_spy(service: Served, python: str) -> None:
    with ExitStack() as stack:
        process = waiting(python, stack)
        stacks, told = sampled(service, "--pid", process.pid, "--seconds", 1, "--hz", 20)
        expected = by_py_spy(process.pid)
        status = Path(f"/proc/{process.pid}/status").read_text()
        assert "TracerPid:\t0\n" in status
    seen: dict[int, list[str]] = {}
    for each in stacks:
        _, thread, *functions = each.split(";")
        seen[int(thread.removeprefix("thread "))] = functions
    assert len(seen) == len(stacks), "a process that waits has one stack a thread"
    # Names are qualified since 3.11, and py-spy shows what it can of that.
    last = {thread: [name.rpartition(".")[2] for name in names] for thread, names in seen.items()}
    assert last == {
        thread: [name.rpartition(".")[2] for name in names] for thread, names in expected.items()
    }
    assert seen[process.pid][:2] == ["<module>", "naïve_名前"]
    assert any(names.count("Deep.recurse") == 6 for names in seen.values())
    found = re.search(r"(\d+) samples of 1 processes, (\d+) ticks lost", told)
    assert found is not None
    assert int(found[1]) > 5


def test_many_processes_are_sampled_at_once_and_written_for_speedscope(
    service: Served, tmp_path: Path
) -> None:
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    if version not in KNOWN:
        pytest.skip(f"the example knows {KNOWN}, not {version}")
    python = str(Path(sys.executable).resolve())
    file = tmp_path / "stacks.json"
    with ExitStack() as stack:
        pids = [waiting(python, stack).pid for _ in range(3)]
        words = [word for pid in pids for word in ("--pid", pid)]
        stacks, _ = sampled(service, *words, "--seconds", 1, "--speedscope", file)
    assert {int(each.partition(";")[0].split()[-1]) for each in stacks} == set(pids)
    shown = json.loads(file.read_text())
    names = [frame["name"] for frame in shown["shared"]["frames"]]
    profile = shown["profiles"][0]
    assert {";".join(names[frame] for frame in sample) for sample in profile["samples"]} == set(
        stacks
    )
    assert len(profile["weights"]) == len(stacks)


def test_what_is_no_python_is_left_out_with_a_reason(service: Served) -> None:
    with subprocess.Popen(["sleep", "100"]) as other:
        try:
            words = [
                sys.executable,
                EXAMPLE,
                "--url",
                f"unix:{service.path}",
                "--pid",
                str(other.pid),
            ]
            ran = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
        finally:
            other.kill()
    assert ran.returncode == 1
    assert f"{other.pid} is left out: it has no _PyRuntime" in ran.stderr
