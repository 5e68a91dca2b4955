"""Reading a process, as a trial: a child of the service's own, and the one in question."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import select
import subprocess
import sys
from typing import TYPE_CHECKING, Final

from farpeek.doctor import cures
from farpeek.doctor.findings import Cure, Finding, Verdict
from farpeek.errors import FarpeekError
from farpeek.kernel import gates, status, uapi
from farpeek.mappings.maps import listed_map

if TYPE_CHECKING:
    from collections.abc import Iterator

_SOME: Final = 4  # bytes
_PATIENCE_S: Final = 10.0
_LONGEST_LINE: Final = 4096
_COMMAND: Final = (sys.executable, "-m", "farpeek.kernel.attempts")
_CHILD: Final = "a child of its own"
_START: Final = Cure(
    host="let the service's user read and execute its interpreter and the package",
    docker="the user of the image, or one that can read it",
    kubernetes="the user of the image, or one that can read it",
)
_SEE_ABOVE: Final = Cure(host="that of process_vm_readv or Yama, whichever refuses here")


def child() -> tuple[Finding, dict[str, int] | None]:
    """Read a child: what works on that is no matter of users, capabilities or Yama.

    Its answer is what came of the calls that it has tried, None where it has told nothing.
    """
    try:
        started = subprocess.Popen(  # noqa: S603 - this interpreter
            _COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
    except OSError as error:
        return _untried(f"cannot be started: {error.strerror}"), None
    try:
        outcomes = _outcomes(started)
        if outcomes is None:
            return _untried("has not begun: it ends, or takes too long"), None
        refused = _read(started.pid)
    finally:
        started.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            started.communicate(timeout=_PATIENCE_S)
    if refused is None:
        return Finding(_CHILD, Verdict.FINE, "can be read"), outcomes
    effect = "then nothing else can be read either"
    return Finding(_CHILD, Verdict.BLOCKS, refused, effect, _SEE_ABOVE), outcomes


def _untried(here: str) -> Finding:
    return Finding(_CHILD, Verdict.NOTE, here, "which calls are refused is not known", _START)


def _outcomes(started: subprocess.Popen[bytes]) -> dict[str, int] | None:
    """Take the line that the child prints, if it comes in time."""
    if (out := started.stdout) is None or not select.select([out], [], [], _PATIENCE_S)[0]:
        return None
    try:
        found: dict[str, int] = json.loads(out.readline(_LONGEST_LINE))
    except ValueError:  # it has ended before
        return None
    return found


def process(pid: int) -> Iterator[Finding]:
    """Try process ``pid``, and say which gate refuses."""
    gate = f"process {pid}"
    fields = _fields(pid)
    if fields is None:
        yield absent(pid)
        return
    if b"VmSize" not in fields:
        yield Finding(gate, Verdict.BLOCKS, "has no memory: a kernel thread, or one that has ended")
        return
    refused = _read(pid)
    if refused is None:
        yield Finding(gate, Verdict.FINE, "can be read")
    else:
        yield _denied(gate, pid, refused)
    yield _page_table(pid)


def absent(pid: int) -> Finding:
    """Say that there is no process of that number, or none that may be told of."""
    cure = Cure(
        host="is it a number of the service's pid namespace? hidepid= hides processes too",
        docker="--pid host, or --pid container:NAME",
        kubernetes="shareProcessNamespace: true, or hostPID: true",
    )
    return Finding(
        f"process {pid}", Verdict.BLOCKS, "there is none that the service sees", "", cure
    )


def _denied(gate: str, pid: int, refused: str) -> Finding:
    if refused != errno.errorcode[errno.EPERM]:
        return _failed(gate, refused)
    denied = gates.find(pid)
    return Finding(
        f"{gate}: {denied.gate}",
        Verdict.BLOCKS,
        str(denied),
        "it cannot be read",
        Cure(denied.hint),
    )


def _failed(gate: str, refused: str) -> Finding:
    return Finding(gate, Verdict.BLOCKS, refused, "it cannot be read", _SEE_ABOVE)


def _page_table(pid: int) -> Finding:
    gate = f"page table of {pid}"
    try:
        os.close(os.open(f"/proc/{pid}/pagemap", os.O_RDONLY | os.O_CLOEXEC))
    except OSError as error:
        return Finding(
            gate,
            Verdict.LIMITS,
            f"cannot be opened: {error.strerror}",
            "no nowait reads, and no generation",
            cures.grant("SYS_PTRACE", "DAC_READ_SEARCH"),
        )
    return Finding(gate, Verdict.FINE, "can be seen")


def _fields(pid: int) -> dict[bytes, bytes] | None:
    try:
        return status.fields(f"/proc/{pid}")
    except OSError:
        return None


def _read(pid: int) -> str | None:
    """Read some bytes of a process; None if that works, else why not.

    By its map, if that may be read; else one byte at address 0 says whether memory may.
    """
    try:
        with listed_map(f"/proc/{pid}") as address_map:
            mapping = address_map.at_or_above(0)
    except (OSError, FarpeekError):
        mapping = None
    if mapping is not None and mapping.readable:
        found = uapi.read_memory(pid, mapping.start, _SOME)
        if found is not None:
            return None
    probed = uapi.probe_memory(pid)
    if probed in (-errno.EFAULT, 1):
        return None
    return errno.errorcode.get(-probed, str(-probed))
