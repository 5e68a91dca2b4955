"""Dumps of much memory, by a process of their own: what it takes, and what comes of it."""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support import targets
from support.ending import ended
from support.wire import Served

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.targets import Target

MIB = 1 << 20
PAGE = mmap.PAGESIZE

_CLIENT = """
import sys
from farpeek_api.client import Client
url, pid, out, *ends = sys.argv[1:]
ends = [int(end) for end in ends]
told = []
def tell(done, total):
    if not told:
        told.append(done)
        print("begun", flush=True)
        sys.stdin.readline()
with Client(url) as peek:
    dump = peek.target(int(pid)).dump(out, list(zip(ends[::2], ends[1::2])), progress=tell)
assert dump.complete
peak = next(int(line.split()[1]) for line in open("/proc/self/status") if "VmHWM" in line)
print(dump.resumed, dump.sums.data, peak)
"""


def _ranges(process: Target, size: int) -> list[tuple[int, int]]:
    """Return where the data is, and a GiB beside it of which two pages were touched."""
    sparse = process["sparse"]
    block = process["block"]
    return sorted([(block, block + size), (sparse, sparse + 1024 * MIB)])


def _chunks(ranges: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    for start, end in ranges:
        yield from ((at, min(MIB, end - at)) for at in range(start, end, MIB))


def _differences(pid: int, out: Path, ranges: list[tuple[int, int]]) -> list[str]:
    """Compare a dump with the kernel's own view of that memory."""
    with Path(f"/proc/{pid}/mem").open("rb", 0) as memory, out.open("rb", 0) as file:
        return [
            hex(at)
            for at, length in _chunks(ranges)
            if os.pread(memory.fileno(), length, at)
            != os.pread(file.fileno(), length, at - ranges[0][0])
        ]


@pytest.mark.parametrize("mebibytes", [128, pytest.param(1024, marks=pytest.mark.slow)])
def test_a_large_dump_takes_little_memory_is_sparse_right_and_survives_a_restart(
    mebibytes: int, folder: Path
) -> None:
    size = mebibytes * MIB
    out = folder / "out"
    with targets.start("bulk", size // PAGE, 1) as process, Served(folder) as service:
        process.command("touch 0")
        ranges = _ranges(process, size)
        ends = [str(end) for each in ranges for end in each]
        arguments = [f"unix:{service.path}", str(process.pid), str(out), *ends]
        client = subprocess.Popen(
            [sys.executable, "-c", _CLIENT, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        with ended(client):
            assert client.stdout is not None
            assert client.stdout.readline() == "begun\n"
            service.end()
            with Served(folder):
                told, _ = client.communicate("go on\n")
        resumed, data, peak_kib = map(int, told.split())
        assert client.returncode == 0
        assert resumed == 1
        assert size < data < size + 16 * MIB
        assert peak_kib < 64 * 1024
        assert out.stat().st_size == ranges[-1][1] - ranges[0][0]
        assert size <= out.stat().st_blocks * 512 < size + 16 * MIB
        assert _differences(process.pid, out, ranges) == []
