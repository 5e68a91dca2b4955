"""What this kernel and these privileges can do, found out by trying, never by version number."""

from __future__ import annotations

import errno
import os
from array import array
from dataclasses import dataclass
from typing import Final

from farpeek.errors import Unsupported
from farpeek.kernel import refusals, uapi
from farpeek.kernel.gates import credentials
from farpeek.mappings.maps import listed_map
from farpeek.model import PAGE_SIZE, Capability, NowaitCheck

_CAP_DAC_OVERRIDE = 1 << 1
_CAP_DAC_READ_SEARCH = 1 << 2
_CAP_SYS_PTRACE = 1 << 19
_CAP_SYS_NICE = 1 << 23
PIDFD_SINCE: Final = (5, 3)
PROCESS_VM_SINCE: Final = (3, 2)
_OWN_FLAG = "asked with NULL iovecs: EINVAL where the flag is unknown, EFAULT where it is known"


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What was found at start. The first fields are facts; `as_mapping` is what they mean."""

    process_vm: bool  # process_vm_readv is there, and lets us read ourselves
    process_vm_problem: str
    flag_pidfd: bool
    flag_nowait: bool
    exit_status: bool
    pagemap: bool  # of our own; another user's may be closed to us all the same
    pagemap_scan: bool
    guards: bool
    procmap_query: bool
    map_files: bool  # may be opened
    open_cached: bool  # openat2 with RESOLVE_CACHED
    madvise: bool
    sys_nice: bool
    ptrace: bool
    nodes: bool  # move_pages tells of other users' processes, whose pagemap is closed to us

    @property
    def prefetch(self) -> bool:
        """Whether another process's pages can be asked for."""
        return self.madvise and self.sys_nice

    def nowait_rung(self) -> str:
        """How `nowait` is emulated here: how page tables are seen, and how files are opened."""
        residency = "PAGEMAP_SCAN" if self.pagemap_scan else "pagemap"
        if self.nodes:
            residency += " (move_pages for other users)"
        if self.map_files:
            return f"{residency} + map_files"
        return f"{residency} + verified path" if self.open_cached else f"{residency} alone"

    def as_mapping(self, check: NowaitCheck = NowaitCheck.AUTO) -> dict[str, Capability]:
        """Every capability by the name that `GET /v1/info` gives it."""
        return {
            "process_vm": self._process_vm(),
            "pidfd": self._pidfd(),
            "nowait": self._nowait(check),
            "write": self._write(),
            "exit_status": self._exit_status(),
            "residency": self._residency(),
            "build_id": self._build_id(),
            "prefetch": self._prefetch(),
            "generation": self._generation(),
        }

    def _generation(self) -> Capability:
        if not self.pagemap:
            return Capability("unavailable", "none", "/proc/self/pagemap cannot be opened")
        return Capability(
            "emulated",
            "AT_RANDOM + pagemap",
            "the random bytes of a program are looked at behind each read; other users' targets "
            "need CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH, and their generation is null without",
        )

    def _process_vm(self) -> Capability:
        if self.process_vm:
            return Capability("native", "process_vm_readv", "read a page of its own")
        return Capability("unavailable", "none", self.process_vm_problem)

    def _pidfd(self) -> Capability:
        if self.flag_pidfd:
            return Capability("native", "PROCESS_VM_PIDFD", _OWN_FLAG)
        return Capability(
            "emulated",
            "by number, then probe and pidfd",
            "the kernel has no PROCESS_VM_PIDFD: reads go by number, and are believed only if "
            "afterwards the memory is still there and the pidfd is not readable",
        )

    def _nowait(self, check: NowaitCheck) -> Capability:
        if self.flag_nowait:
            return Capability("native", f"PROCESS_VM_NOWAIT, residency checked: {check}", _OWN_FLAG)
        if not self.pagemap:
            return Capability(
                "unavailable",
                "none",
                "the kernel has no PROCESS_VM_NOWAIT, and no /proc/PID/pagemap to emulate it by",
            )
        return Capability(
            "emulated",
            self.nowait_rung(),
            "the kernel has no PROCESS_VM_NOWAIT: only pages are read that were in the page table "
            "or in the page cache a moment before; other users' targets need CAP_SYS_PTRACE and "
            "CAP_DAC_READ_SEARCH",
        )

    def _write(self) -> Capability:
        if self.flag_pidfd:
            return Capability("native", "PROCESS_VM_PIDFD", _OWN_FLAG)
        if not self.ptrace:
            return Capability(
                "unavailable",
                "none",
                "the kernel has no PROCESS_VM_PIDFD, and ptrace is refused (seccomp): a process "
                "could not be kept from being replaced by another of its number; "
                "deploy/seccomp/farpeek-writes.json allows it",
            )
        return Capability(
            "emulated",
            "pinned by PTRACE_SEIZE",
            "the kernel has no PROCESS_VM_PIDFD: the target is traced, never stopped, for as long "
            "as a call takes to find it, so that its number stays its own",
        )

    def _exit_status(self) -> Capability:
        if self.exit_status:
            return Capability("native", "PIDFD_GET_INFO", "told of children and others")
        return Capability(
            "emulated",
            "waitid with WNOWAIT",
            "PIDFD_GET_INFO does not tell it (before 6.15): known of the service's children only",
        )

    def _residency(self) -> Capability:
        if not self.pagemap:
            return Capability("unavailable", "none", "/proc/self/pagemap cannot be opened")
        if self.pagemap_scan:
            guards = "with" if self.guards else "without"
            return Capability("native", "PAGEMAP_SCAN", f"{guards} guard pages")
        return Capability("emulated", "pagemap", "PAGEMAP_SCAN is missing (before 6.7)")

    def _build_id(self) -> Capability:
        return Capability(
            "emulated",
            "ELF notes",
            "read from memory or the page cache, where they are; mode=wait reads them in",
        )

    def _prefetch(self) -> Capability:
        if self.prefetch:
            return Capability("native", "process_madvise(MADV_WILLNEED)", "through the pidfd")
        missing = "CAP_SYS_NICE" if self.madvise else "process_madvise"
        return Capability("unavailable", "none", f"{missing} is missing")


def probe() -> Capabilities:
    """Find out what can be done here. Takes about 1 ms; makes one child that ends at once.

    Raises Unsupported where the service could not even hold a target: no pidfd_open, or a /proc of
    another pid namespace.
    """
    check_proc()
    check_pidfd_open()
    own = uapi.probe_memory(os.getpid())
    return Capabilities(
        process_vm=own in (-errno.EFAULT, 1),
        process_vm_problem=_process_vm_problem(own),
        flag_pidfd=uapi.knows_flag(os.getpid(), uapi.PROCESS_VM_PIDFD),
        flag_nowait=uapi.knows_flag(os.getpid(), uapi.PROCESS_VM_NOWAIT),
        exit_status=_tells_exit_status(),
        pagemap=_opens("/proc/self/pagemap"),
        pagemap_scan=_scans(uapi.PAGE_IS_PRESENT),
        guards=_scans(uapi.PAGE_IS_GUARD),
        procmap_query=_queries_maps(),
        map_files=_opens_map_files(),
        open_cached=_opens_cached(),
        madvise=_advises(),
        sys_nice=_has_capability(_CAP_SYS_NICE),
        # of no thread at all: ESRCH, unless a seccomp filter is in the way
        ptrace=uapi.ptrace_seize(-1) == -errno.ESRCH,
        nodes=(
            _has_capability(_CAP_SYS_PTRACE)
            and not _has_capability(_CAP_DAC_READ_SEARCH)
            and not _has_capability(_CAP_DAC_OVERRIDE)
            and _tells_nodes()
        ),
    )


def check_proc() -> None:
    """Raise Unsupported unless the /proc of this pid namespace is mounted."""
    try:
        shown = int(os.readlink("/proc/self"))  # noqa: PTH115 - a number, no path
    except OSError as error:
        raise Unsupported(
            "no /proc is mounted here; mount one: mount -t proc proc /proc"
        ) from error
    if shown != os.getpid():
        raise Unsupported(
            f"/proc belongs to another pid namespace: it calls this process {shown}, which is "
            f"{os.getpid()}; mount this namespace's own: mount -t proc proc /proc"
        )


def check_pidfd_open() -> None:
    """Raise Unsupported where no pidfd can be had."""
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError as error:
        reason = refusals.why(error.errno or 0, PIDFD_SINCE)
        raise Unsupported(f"pidfd_open: {reason}") from error


def _process_vm_problem(probed: int) -> str:
    if probed in (-errno.EFAULT, 1):
        return ""
    return refusals.why(-probed, PROCESS_VM_SINCE, "CONFIG_CROSS_MEMORY_ATTACH")


def _tells_exit_status() -> bool:
    """Ask about a child that has ended; nothing else shows whether the kernel can tell."""
    try:
        child = os.fork()
    except OSError:
        return False
    if not child:
        os._exit(0)
    pidfd = os.pidfd_open(child)
    try:
        os.waitpid(child, 0)
        return uapi.pidfd_exit_status(pidfd) == 0
    finally:
        os.close(pidfd)


def _scans(category: int) -> bool:
    try:
        pagemap = os.open("/proc/self/pagemap", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        uapi.pagemap_scan(pagemap, 0, PAGE_SIZE, category, category)
    except OSError:
        return False
    finally:
        os.close(pagemap)
    return True


def _queries_maps() -> bool:
    maps = os.open("/proc/self/maps", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return uapi.procmap_query(maps, 0) is not None
    except OSError:
        return False
    finally:
        os.close(maps)


def _opens(path: str) -> bool:
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def _opens_map_files() -> bool:
    """Try it on the first mapping of a file that this process has."""
    with listed_map("/proc/self") as own:
        mapping = own.at_or_above(0)
        while mapping is not None and not mapping.inode:
            mapping = own.at_or_above(mapping.end)
    if mapping is None:
        return False
    return _opens(f"/proc/self/map_files/{mapping.start:x}-{mapping.end:x}")


def _opens_cached() -> bool:
    root = os.open("/", os.O_PATH | os.O_CLOEXEC)
    try:
        os.close(uapi.open_cached(root, b"proc"))
    except OSError as error:
        return error.errno == errno.EAGAIN
    finally:
        os.close(root)
    return True


def _advises() -> bool:
    """Ask about no process, so that privileges do not matter: a filter has errnos of its own."""
    call = "process_madvise"
    return uapi.try_harmlessly(call) == -uapi.HARMLESS[call]


def _tells_nodes() -> bool:
    """Ask about a page of our own: ENOSYS without CONFIG_NUMA, EPERM by a seccomp filter."""
    page = bytearray(1)
    place = uapi.address_of(page)
    try:
        (node,) = uapi.page_nodes(0, array("Q", [place - place % PAGE_SIZE]))
    except OSError:
        return False
    return node >= 0


def _has_capability(bit: int) -> bool:
    own = credentials("self")
    return own is not None and bool(own.effective & bit)
