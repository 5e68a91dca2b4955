"""What this kernel and these privileges can do, found out by trying, never by version number."""

from __future__ import annotations

import errno
import mmap
import os
from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from farpeek import machine
from farpeek.errors import Unsupported
from farpeek.kernel import pidfd, refusals, uapi
from farpeek.kernel.gates import credentials
from farpeek.mappings.maps import listed_map
from farpeek.model import PAGE_SIZE, Capability, NowaitCheck

if TYPE_CHECKING:
    from collections.abc import Mapping

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
    hangs_up: bool  # a pidfd, when its process is reaped
    asks_for_reaps: bool  # signal 0 finds nobody then
    pagemap: bool  # of our own; another user's may be closed to us all the same
    pagemap_scan: bool
    guards: bool
    makes_guards: bool  # the kernel lets programs have guard pages at all
    procmap_query: bool
    map_files: bool  # may be opened
    open_cached: bool  # openat2 with RESOLVE_CACHED
    madvise: bool
    sys_nice: bool
    ptrace: bool
    nodes: bool  # move_pages tells of other users' processes, whose pagemap is closed to us

    @property
    def sees_protection(self) -> bool:
        """Whether pagemap tells which pages a userfaultfd handler protects (5.14).

        To try it takes a userfaultfd, which is often refused; PAGEMAP_SCAN is younger.
        """
        return self.pagemap_scan

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
            "reap": self._reap(),
            "residency": self._residency(),
            "guards": self._guards(),
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

    def _reap(self) -> Capability:
        if self.hangs_up:
            return Capability("native", "POLLHUP", "the pidfd hangs up")
        if self.asks_for_reaps:
            return Capability(
                "emulated",
                "pidfd_send_signal, by a timer",
                "no pidfd hangs up (before 6.9): it is asked ten times a second whether a process "
                "that has exited can be sent signal 0 still",
            )
        return Capability(
            "unavailable",
            "none",
            "no pidfd hangs up (before 6.9), and pidfd_send_signal is refused: a target stays "
            "`exited` until its time is over",
        )

    def _guards(self) -> Capability:
        if self.guards:
            return Capability("native", "PAGE_IS_GUARD", "told by PAGEMAP_SCAN")
        if self.makes_guards:
            return Capability(
                "emulated",
                "swap entries",
                "PAGEMAP_SCAN does not tell them (before 6.15): they look swapped out, and what "
                "they are is told with CAP_SYS_ADMIN alone, or where there is no swap",
            )
        return Capability("unavailable", "none", "no program has guard pages here (before 6.13)")

    def _residency(self) -> Capability:
        if not self.pagemap:
            return Capability("unavailable", "none", "/proc/self/pagemap cannot be opened")
        if self.pagemap_scan:
            guards = "with" if self.guards else "without"
            return Capability("native", "PAGEMAP_SCAN", f"{guards} guard pages")
        return Capability(
            "emulated",
            "pagemap",
            "PAGEMAP_SCAN is missing (before 6.7); a nowait write leaves mappings alone in which a "
            "userfaultfd handler protects pages",
        )

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


_OF_A_KERNEL: Final = (
    *("process_vm", "pidfd", "nowait", "write", "exit_status", "reap", "residency", "guards"),
    "prefetch",
)


def lacking(capabilities: Mapping[str, Capability]) -> str:
    """Say in a line what this kernel, or these privileges, lack, and what is done instead."""
    parts: list[str] = []
    for name in _OF_A_KERNEL:
        found = capabilities[name]
        if found.provided == "emulated":
            parts.append(f"{name}: {found.technique}")
        elif found.provided == "unavailable":
            parts.append(f"no {name} ({found.detail})")
    return "; ".join(parts)


def probe() -> Capabilities:
    """Find out what can be done here. Takes about 1 ms; makes one child that ends at once.

    Raises Unsupported where the service could not even hold a target: no pidfd_open, or a /proc of
    another pid namespace; and where it is a program of 32 bits.
    """
    check_program()
    check_proc()
    check_pidfd_open()
    own = uapi.probe_memory(os.getpid())
    reaped = _reap_a_child()
    return Capabilities(
        process_vm=own in (-errno.EFAULT, 1),
        process_vm_problem=_process_vm_problem(own),
        flag_pidfd=uapi.knows_flag(os.getpid(), uapi.PROCESS_VM_PIDFD),
        flag_nowait=uapi.knows_flag(os.getpid(), uapi.PROCESS_VM_NOWAIT),
        exit_status=reaped.has_status,
        hangs_up=reaped.hung_up,
        asks_for_reaps=reaped.is_nobody,
        pagemap=_opens("/proc/self/pagemap"),
        pagemap_scan=_scans(uapi.PAGE_IS_PRESENT),
        guards=_scans(uapi.PAGE_IS_GUARD),
        makes_guards=_makes_guards(),
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


def check_program(bits: int = machine.POINTER_BITS) -> None:
    """Raise Unsupported in a program of 32 bits: it could name no address of one of 64."""
    if bits != 64:  # noqa: PLR2004 - bits
        raise Unsupported(
            f"this Python is a program of {bits} bits, which cannot read the memory of those of "
            "64: run farpeek by a Python of 64 bits"
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
    """Raise Unsupported where no pidfd can be had, or waited for."""
    try:
        own = os.pidfd_open(os.getpid())
    except OSError as error:
        reason = refusals.why(error.errno or 0, PIDFD_SINCE)
        raise Unsupported(f"pidfd_open: {reason}") from error
    try:
        os.waitid(os.P_PIDFD, own, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        pass  # we are no child of ours
    except OSError as error:
        name = errno.errorcode.get(error.errno or 0, str(error.errno))
        raise Unsupported(
            f"pidfd_open: waitid does not know what it gives (P_PIDFD: {name}); farpeek needs "
            f"Linux 5.4 or newer, and this is {os.uname().release}"
        ) from error
    finally:
        os.close(own)


def _process_vm_problem(probed: int) -> str:
    if probed in (-errno.EFAULT, 1):
        return ""
    return refusals.why(-probed, PROCESS_VM_SINCE, "CONFIG_CROSS_MEMORY_ATTACH")


@dataclass(frozen=True, slots=True)
class _Reaped:
    """What is told of a child that has ended, and was waited for."""

    has_status: bool
    hung_up: bool
    is_nobody: bool


def _reap_a_child() -> _Reaped:
    """Find out by a child of our own; nothing else shows whether the kernel can tell."""
    try:
        child = os.fork()
    except OSError:
        return _Reaped(has_status=False, hung_up=False, is_nobody=True)
    if not child:
        os._exit(0)
    held = os.pidfd_open(child)
    try:
        os.waitpid(child, 0)
        return _Reaped(
            has_status=uapi.pidfd_exit_status(held) == 0,
            hung_up=pidfd.has_hung_up(held),
            is_nobody=pidfd.is_nobody(held),
        )
    finally:
        os.close(held)


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
    return uapi.try_harmlessly(call) == -uapi.HARMLESS[call] and _advises_to_read_in()


def _advises_to_read_in() -> bool:
    """Ask about no memory of our own: EINVAL for advice that is not known (5.10 to 5.12)."""
    own = os.pidfd_open(os.getpid())
    try:
        return uapi.process_madvise_willneed(own, array("Q", [0, 0]), 0) != -errno.EINVAL
    finally:
        os.close(own)


def _makes_guards() -> bool:
    with mmap.mmap(-1, PAGE_SIZE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as page:
        try:
            page.madvise(uapi.MADV_GUARD_INSTALL)
        except OSError:
            return False
    return True


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
