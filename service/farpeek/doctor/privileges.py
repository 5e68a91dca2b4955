"""What this process may do: its capabilities, its user, and whether its own files are its own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from farpeek.doctor import cures
from farpeek.doctor.findings import Cure, Finding, Verdict
from farpeek.kernel import capabilities, status, uapi

if TYPE_CHECKING:
    from collections.abc import Iterator

_WHAT_FOR: Final = {
    "SYS_PTRACE": "only processes of the service's own uid and gid can be read",
    "DAC_READ_SEARCH": "nowait reads of other users' processes see no page tables",
    "CHECKPOINT_RESTORE": "nowait reads know nothing of files that were deleted",
    "SYS_NICE": "prefetch is unavailable",
}
_OWN_CALL: Final = Path("/proc/thread-self/syscall")


def effective() -> int:
    """The effective capabilities of this thread, as bits."""
    return int(status.fields("/proc/self")[b"CapEff"], 16)


def privileges() -> Iterator[Finding]:
    """Tell of capabilities, user and dumpability."""
    fields = status.fields("/proc/self")
    for name in _WHAT_FOR:
        yield _capability(name, fields)
    yield _identity()
    yield _dumpable()


def _capability(short: str, fields: dict[bytes, bytes]) -> Finding:
    name, bit = f"CAP_{short}", capabilities.NAMES.index(short)
    if _has(fields, b"CapEff", bit):
        # CapAmb is what a program without file capabilities keeps that is executed.
        how = "is effective, and ambient" if _has(fields, b"CapAmb", bit) else "is effective"
        return Finding(name, Verdict.FINE, how)
    return Finding(name, Verdict.LIMITS, _lack(fields, bit), _WHAT_FOR[short], cures.grant(short))


def _lack(fields: dict[bytes, bytes], bit: int) -> str:
    if not _has(fields, b"CapBnd", bit):
        return "is not in the bounding set, so nothing that is executed gets it"
    if _has(fields, b"CapPrm", bit):
        return "is permitted, but not effective"
    return (
        "is in the bounding set, but not effective: this user gets it neither by an ambient set "
        "nor by the file that was executed"
    )


def _has(fields: dict[bytes, bytes], which: bytes, bit: int) -> bool:
    return bool(int(fields.get(which, b"0"), 16) >> bit & 1)  # CapAmb is there since 4.3


def _identity() -> Finding:
    uid, gid = os.getuid(), os.getgid()
    return Finding(
        "user",
        Verdict.FINE,
        f"uid {uid}, gid {gid}",
        "without CAP_SYS_PTRACE a target must have both, real, effective and saved",
    )


def _dumpable() -> Finding:
    """The files in /proc of a process that is not dumpable are root's; proc(5), PR_SET_DUMPABLE."""
    dumpable = uapi.prctl(uapi.PR_GET_DUMPABLE) == 1
    try:
        _OWN_CALL.read_bytes()
    except OSError:
        if dumpable:  # a kernel without CONFIG_HAVE_ARCH_TRACEHOOK, or a sandbox
            return Finding("dumpable", Verdict.FINE, "the service is")
    else:
        here = "the service is" if dumpable else "the service is not, and sees its own files"
        return Finding("dumpable", Verdict.FINE, here)
    granted = cures.grant("DAC_READ_SEARCH")
    return Finding(
        "dumpable",
        Verdict.LIMITS,
        "the service is not, so its own files in /proc are root's: it has file capabilities, has "
        "changed its user, or was executed from a file that it may not read",
        "it does not see which of its threads hang, nor its own page table",
        Cure(
            host=f"{granted.host}; or have it executed without file capabilities",
            docker=granted.docker,
            kubernetes=granted.kubernetes,
        ),
    )
