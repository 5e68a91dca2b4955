"""System calls that not all reads need, and what refuses them: a filter, or the kernel's age."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from farpeek.doctor import cures
from farpeek.doctor.findings import Cure, Finding, Verdict
from farpeek.kernel import refusals, uapi
from farpeek.kernel.attempts import ENDED

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


@dataclass(frozen=True, slots=True)
class _Use:
    since: refusals.Release
    lack: str
    option: str = ""


_USES: Final = {
    "process_vm_writev": _Use(
        (3, 2),
        "nothing is written; it is needed with --allow-writes alone",
        "CONFIG_CROSS_MEMORY_ATTACH",
    ),
    "openat2": _Use((5, 6), "nowait opens no files by their paths, so their pages are gaps"),
    "process_madvise": _Use((5, 10), "prefetch is unavailable", "CONFIG_ADVISE_SYSCALLS"),
    "move_pages": _Use(
        (2, 6), "nowait of other users' processes takes CAP_DAC_READ_SEARCH", "CONFIG_NUMA"
    ),
    "mincore": _Use((2, 4), "nowait does not know what is in the page cache"),
    "cachestat": _Use(
        (6, 5), "nowait may miss the end of a file, where pages are larger than the disk's blocks"
    ),
}


def refused(outcomes: Mapping[str, int]) -> Iterator[Finding]:
    """Tell of each call what came of it, as `farpeek.kernel.attempts` has found out."""
    for call, use in _USES.items():
        yield _finding(call, use, outcomes.get(call, ENDED))


def _finding(call: str, use: _Use, code: int) -> Finding:
    if code == uapi.HARMLESS[call]:
        return Finding(call, Verdict.FINE, "can be called")
    if code == ENDED:
        return _ended(call, use)
    here = refusals.why(code, use.since, use.option)
    if code == errno.ENOSYS and not refusals.by_filter(code, use.since):
        return _missing(call, use, here)
    return Finding(call, Verdict.LIMITS, here, use.lack, cures.allow(call))


def _ended(call: str, use: _Use) -> Finding:
    here = "a seccomp filter ends the process that calls it"
    return Finding(call, Verdict.LIMITS, here, use.lack, cures.allow(call))


def _missing(call: str, use: _Use, here: str) -> Finding:
    cure = Cure(host=f"a kernel with {use.option}" if use.option else "a newer kernel")
    return Finding(call, Verdict.NOTE, here, use.lack, cure)
