"""What this kernel can do, as it was found by trying."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from farpeek.access import probe
from farpeek.doctor import cures
from farpeek.doctor.findings import Cure, Finding, Verdict
from farpeek.errors import Unsupported

if TYPE_CHECKING:
    from collections.abc import Iterator

    from farpeek.access.capabilities import Capabilities

_PAGEMAP: Final = Path("/proc/self/pagemap")
_NO_START: Final = "the service cannot start"
_NEWER: Final = Cure(host="a newer kernel; what is missing is emulated until then")


def start() -> Iterator[Finding]:
    """Tell what keeps the service from starting at all."""
    yield _mounted_proc()
    yield _pidfd_open()


def _mounted_proc() -> Finding:
    try:
        probe.check_proc()
    except Unsupported as error:
        cure = Cure(
            host="mount -t proc proc /proc, in the service's pid namespace",
            docker="leave /proc to the runtime: no --volume for it",
            kubernetes="leave /proc to the runtime: no volumeMount for it",
        )
        return Finding("/proc", Verdict.BLOCKS, str(error), _NO_START, cure)
    return Finding("/proc", Verdict.FINE, "is that of the service's pid namespace")


def _pidfd_open() -> Finding:
    try:
        probe.check_pidfd_open()
    except Unsupported as error:
        here = str(error).removeprefix("pidfd_open: ")
        cure = cures.allow("pidfd_open") if "seccomp filter refuses" in here else _NEWER
        return Finding("pidfd_open", Verdict.BLOCKS, here, _NO_START, cure)
    return Finding("pidfd_open", Verdict.FINE, "can be called")


def features(found: Capabilities) -> Iterator[Finding]:
    """Tell of each feature that reads rest on."""
    yield _process_vm(found)
    yield _flag("PROCESS_VM_PIDFD", there=found.flag_pidfd, lack=_BY_NUMBER)
    yield _flag("PROCESS_VM_NOWAIT", there=found.flag_nowait, lack=_BY_LOOKING)
    yield _page_table(found)
    yield _scan(found)
    yield _feature(
        "PROCMAP_QUERY", "6.11", there=found.procmap_query, lack="/proc/PID/maps is read"
    )
    yield _feature(
        "PIDFD_GET_INFO",
        "6.15",
        there=found.exit_status,
        lack="how a target ended is known of the service's children only",
    )
    yield _ptrace(found)


def _process_vm(found: Capabilities) -> Finding:
    gate = "process_vm_readv"
    if found.process_vm:
        return Finding(gate, Verdict.FINE, "reads the service's own memory")
    built = Cure(host="a kernel with CONFIG_CROSS_MEMORY_ATTACH")
    cure = built if "built without" in found.process_vm_problem else cures.allow(gate)
    return Finding(gate, Verdict.BLOCKS, found.process_vm_problem, "no memory can be read", cure)


_BY_NUMBER = "reads go by number, and are verified behind each"
_BY_LOOKING = "it is looked at beforehand what would have to be waited for"


def _flag(name: str, *, there: bool, lack: str) -> Finding:
    if there:
        return Finding(name, Verdict.FINE, "the kernel has it")
    here = f"Linux {os.uname().release} does not have it"
    return Finding(name, Verdict.NOTE, here, f"emulated: {lack}", _NEWER)


def _feature(name: str, since: str, *, there: bool, lack: str) -> Finding:
    if there:
        return Finding(name, Verdict.FINE, "the kernel has it")
    here = f"the kernel does not answer it; Linux has it since {since}"
    cure = Cure(
        host=f"Linux {since}; where it is that new, a seccomp filter refuses this ioctl: allow it"
    )
    return Finding(name, Verdict.NOTE, here, lack, cure)


def _page_table(found: Capabilities) -> Finding:
    if found.pagemap:
        return Finding("pagemap", Verdict.FINE, "the service's own can be opened")
    return _closed_page_table() if _PAGEMAP.exists() else _no_page_table()


_NO_NOWAIT: Final = "nowait is unavailable, unless the kernel has PROCESS_VM_NOWAIT"


def _closed_page_table() -> Finding:
    """Files in /proc of a process that is not dumpable are root's; proc(5)."""
    granted = cures.grant("DAC_READ_SEARCH")
    cure = Cure(
        host=f"{granted.host}; or have it executed without file capabilities",
        docker=granted.docker,
        kubernetes=granted.kubernetes,
    )
    here = "the service's own cannot be opened: it is not dumpable"
    return Finding("pagemap", Verdict.LIMITS, here, _NO_NOWAIT, cure)


def _no_page_table() -> Finding:
    cure = Cure(host="a kernel with CONFIG_PROC_PAGE_MONITOR")
    return Finding("pagemap", Verdict.LIMITS, "there is none in /proc", _NO_NOWAIT, cure)


def _scan(found: Capabilities) -> Finding:
    return _feature(
        "PAGEMAP_SCAN",
        "6.7",
        there=found.pagemap_scan,
        lack="page tables are read entry by entry" if found.pagemap else "residency is not told",
    )


def _ptrace(found: Capabilities) -> Finding:
    if found.flag_pidfd or found.ptrace:
        return Finding("ptrace", Verdict.FINE, "may be called: writes can hold on to a target")
    return Finding(
        "ptrace",
        Verdict.LIMITS,
        "is refused by a seccomp filter",
        "nothing is written; it is needed with --allow-writes alone, where the kernel has no "
        "PROCESS_VM_PIDFD",
        cures.allow("ptrace"),
    )
