"""Writing through the service's own access code, in every way that is to be had here."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from farpeek.access import WriteAccess, choose
from farpeek.access.probe import probe
from farpeek.identity import Process
from farpeek.model import Mode, WriteResult, WriteSpec

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from support.targets import Target

WAYS = ("pinned", "native")


def writers(way: str) -> dict[Mode, WriteAccess] | None:
    """Return the writers of both modes by one way; None where the kernel does not have it."""
    found = probe()
    if way == "native" and not found.flag_pidfd:
        return None
    if way == "pinned":
        found = replace(found, flag_pidfd=False)
    ways = choose(found)
    assert ways.write is not None
    assert ways.write_nowait is not None
    return {Mode.WAIT: ways.write, Mode.NOWAIT: ways.write_nowait}


@contextmanager
def held(pid: int) -> Iterator[Process]:
    """Hold a process by its pidfd."""
    pidfd = os.pidfd_open(pid)
    yield Process(pid, pidfd)
    os.close(pidfd)


def write(  # noqa: PLR0913 - what a request can say
    writer: WriteAccess,
    process: Process,
    addresses: Sequence[int],
    data: Sequence[bytes],
    *,
    expect: Sequence[bytes] | None = None,
    mode: Mode = Mode.WAIT,
    allow_shared: bool = False,
) -> WriteResult:
    """Write with all the time that a test may need."""
    spec = WriteSpec(addresses, data, expect, mode, allow_shared)
    return writer.write(process, spec, time.monotonic() + 20)


def tracers(pid: int) -> set[int]:
    """Return who traces any thread of a process; empty if nobody does."""
    return set(_tracers_of_threads(pid)) - {0}


def all_traced_by(tracer: int, pid: int) -> bool:
    """Return whether ``tracer`` traces every thread of a process."""
    return set(_tracers_of_threads(pid)) == {tracer}


def _tracers_of_threads(pid: int) -> Iterator[int]:
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            status = (task / "status").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended meanwhile, and nobody traces it any more
        fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        yield int(fields["TracerPid"])


def hurt(target: Target) -> list[str]:
    """What the target has noticed of being written to: nothing, if all is well."""
    found = [f"traced by {tid}" for tid in tracers(target.pid)]
    if target.command("interrupted") != "0":
        found.append("a system call was interrupted")
    assert target.command("alive") == "ok"
    return found
