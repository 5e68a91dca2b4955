"""Finds out what this kernel and these privileges can do by trying, never by version number."""

from __future__ import annotations

import errno
import mmap
import os
from array import array
from dataclasses import dataclass
from typing import Final

from farpeek import machine
from farpeek.access.capabilities import Capabilities
from farpeek.errors import Unsupported
from farpeek.kernel import pidfd, refusals, uapi
from farpeek.kernel.gates import credentials
from farpeek.mappings.maps import listed_map
from farpeek.model import PAGE_SIZE

_CAP_DAC_OVERRIDE = 1 << 1
_CAP_DAC_READ_SEARCH = 1 << 2
_CAP_SYS_PTRACE = 1 << 19
_CAP_SYS_NICE = 1 << 23
PIDFD_SINCE: Final = (5, 3)
PROCESS_VM_SINCE: Final = (3, 2)


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
