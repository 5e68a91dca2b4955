"""Every system call and ioctl that Python has no name for; nothing else uses ctypes.

Functions answer as the kernel does: a count, or a negative errno. Nothing here retries, decides or
keeps state, and nothing here blocks except where the call itself does.

Sources: process_vm_readv(2), the PROCESS_VM_* patch series (linux/process_vm_access.h), linux/fs.h
(PAGEMAP_SCAN, PROCMAP_QUERY), linux/pidfd.h (PIDFD_GET_INFO).
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
import struct
from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from farpeek import machine

if TYPE_CHECKING:
    from collections.abc import Callable

PROCESS_VM_PIDFD: Final = 1 << 0
PROCESS_VM_NOWAIT: Final = 1 << 1
IOV_MAX: Final = 1024
EHWPOISON: Final = 133  # a broken page; `errno` has no name for it
MAX_RW_COUNT: Final = 0x7FFFF000
"""The most bytes that one call moves (linux/fs.h); a longer one is cut without a word."""

_libc = ctypes.CDLL(None, use_errno=True)
_process_vm_readv = _libc.process_vm_readv
_process_vm_writev = _libc.process_vm_writev
for _call in (_process_vm_readv, _process_vm_writev):
    _call.restype = ctypes.c_ssize_t
    _call.argtypes = [
        ctypes.c_int,
        ctypes.c_void_p,
        ctypes.c_ulong,
        ctypes.c_void_p,
        ctypes.c_ulong,
        ctypes.c_ulong,
    ]


def process_vm_readv(
    who: int, local: int, local_count: int, remote: int, remote_count: int, flags: int = 0
) -> int:
    """Call process_vm_readv(2); ``local`` and ``remote`` are addresses of iovec arrays.

    ``who`` is a pid, or a pidfd with PROCESS_VM_PIDFD. The GIL is released meanwhile. Answers the
    bytes read, or a negative errno.
    """
    count: int = _process_vm_readv(who, local, local_count, remote, remote_count, flags)
    return count if count >= 0 else -ctypes.get_errno()


try_process_vm_readv: Callable[[int, int, int, int, int, int], int] = _process_vm_readv
"""The same in half the time, for those who do not ask why: -1 in place of what went wrong."""


def process_vm_writev(
    who: int, local: int, local_count: int, remote: int, remote_count: int, flags: int = 0
) -> int:
    """Call process_vm_writev(2), as ``process_vm_readv``; answers the bytes written."""
    count: int = _process_vm_writev(who, local, local_count, remote, remote_count, flags)
    return count if count >= 0 else -ctypes.get_errno()


WRITEV_NUMBER: Final = {
    "x86_64": 311,
    "aarch64": 271,
    "riscv64": 271,
    "loongarch64": 271,
    "ppc64le": 352,
    "s390x": 341,
}.get(machine.NAME or "")
"""The number of process_vm_writev, as proc_pid_syscall(5) shows it; None where it is not known."""


def address_of(buffer: bytearray | memoryview | mmap.mmap) -> int:
    """Where the bytes of ``buffer`` are; true for as long as it lives and is not resized."""
    return ctypes.addressof(ctypes.c_char.from_buffer(buffer)) if buffer else 0


_memmem = _libc.memmem
_memmem.restype = ctypes.c_void_p
_memmem.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t]


def memmem(place: int, start: int, end: int, wanted: bytes) -> int:
    """Call memmem(3): where ``wanted`` begins in bytes ``start .. end`` at ``place``; -1: nowhere.

    The GIL is released meanwhile; time is linear in the bytes.
    """
    found: int | None = _memmem(place + start, end - start, wanted, len(wanted))
    return -1 if found is None else found - place


def bytes_at(address: int, size: int) -> bytes:
    """Copy bytes of our own memory; for iovecs."""
    return ctypes.string_at(address, size)


# A one-byte iovec at address 0 and somewhere to put it. Nobody looks at the byte, so that all
# threads may share the place.
_probe_byte = bytearray(1)
_probe_iovecs = array("Q", [address_of(_probe_byte), 1, 0, 1])
_PROBE_LOCAL = _probe_iovecs.buffer_info()[0]
_PROBE_REMOTE = _PROBE_LOCAL + 16


def probe_memory(who: int, flags: int = 0) -> int:
    """Read one byte at address 0: -ESRCH where the address space is gone, about 1 us.

    -EFAULT is what a living process gives; 1 where it has mapped address 0.
    """
    return process_vm_readv(who, _PROBE_LOCAL, 1, _PROBE_REMOTE, 1, flags)


def read_memory(pid: int, address: int, size: int) -> bytes | None:
    """Read some bytes of a process by its number; None where they are not all to be had."""
    content = (ctypes.c_char * size)()
    place = ctypes.addressof(content)
    iovecs = array("Q", (place, size, address, size))
    local = iovecs.buffer_info()[0]
    got = process_vm_readv(pid, local, 1, local + 16, 1)
    return content.raw if got == size else None


def knows_flag(pid: int, flag: int) -> bool:
    """Whether the kernel knows a process_vm_readv flag: EFAULT where it does, EINVAL where not.

    NULL iovecs make the call fail after the flags were looked at, whatever else happens.
    """
    return process_vm_readv(pid, 0, 1, 0, 1, flag) == -errno.EFAULT


_PIDFD_GET_INFO: Final = 0xC040FF0B  # 64 bytes: up to and with exit_code
_PIDFD_INFO_EXIT: Final = 1 << 3
_PIDFD_INFO_EUID: Final = 9  # which u32 it is; pid and credentials are told unasked
_PidfdInfo = ctypes.c_uint32 * 16

# It waits for nothing and takes half a microsecond. To give up the GIL for that, as fcntl.ioctl
# does, costs ten times as much: another thread takes it meanwhile.
_short_ioctl = ctypes.PyDLL(None).ioctl
_short_ioctl.argtypes = (ctypes.c_int, ctypes.c_ulong, ctypes.c_void_p)
_short_ioctl.restype = ctypes.c_int


def pidfd_euid(pidfd: int) -> int | None:
    """The effective uid of the process; None where the kernel does not tell (before 6.13, gone)."""
    info = _PidfdInfo()
    if _short_ioctl(pidfd, _PIDFD_GET_INFO, info):
        return None
    return int(info[_PIDFD_INFO_EUID])


def pidfd_exit_status(pidfd: int) -> int | None:
    """Wait status of the exited process behind ``pidfd``; of a non-child after it was reaped.

    ``None`` where the kernel does not tell (before 6.15), or not yet.
    """
    info = bytearray(64)
    struct.pack_into("=Q", info, 0, _PIDFD_INFO_EXIT)
    try:
        fcntl.ioctl(pidfd, _PIDFD_GET_INFO, info)
    except OSError:
        return None
    (mask,) = struct.unpack_from("=Q", info, 0)
    (status,) = struct.unpack_from("=i", info, 60)
    return int(status) if mask & _PIDFD_INFO_EXIT else None


_PAGEMAP_SCAN: Final = 0xC0606610
PAGE_IS_WPALLOWED: Final = 1 << 0
PAGE_IS_FILE: Final = 1 << 2
PAGE_IS_PRESENT: Final = 1 << 3
PAGE_IS_SWAPPED: Final = 1 << 4
PAGE_IS_PFNZERO: Final = 1 << 5
PAGE_IS_HUGE: Final = 1 << 6
PAGE_IS_GUARD: Final = 1 << 8


class PageRun(NamedTuple):
    """Pages ``start .. end`` that have the same ``categories`` (PAGE_IS_* bits)."""

    start: int
    end: int
    categories: int


def pagemap_scan(
    pagemap: int, start: int, end: int, any_of: int, returned: int, most: int = 512
) -> tuple[list[PageRun], int]:
    """Ask an open /proc/PID/pagemap which pages of ``start .. end`` have a category of ``any_of``.

    With ``any_of`` 0 all pages do that are mapped; those that are not are in no run.
    Answers at most ``most`` runs with their ``returned`` categories, and the address where the walk
    ended (``end`` if it got through). Raises OSError: ENOTTY before 6.7, EINVAL for a category that
    the kernel does not know.
    """
    found, walk_end = _pagemap_scan(pagemap, (start, end), (0, 0, any_of, returned), most)
    numbers = iter(found)
    # Half of the time that calls of the class would take.
    return list(map(PageRun._make, zip(numbers, numbers, numbers, strict=True))), walk_end


def pagemap_scan_without(
    pagemap: int, start: int, end: int, categories: int, most: int
) -> tuple[array[int], array[int], int]:
    """Do the same for pages that are mapped, and have none of ``categories``.

    Answers where runs of them begin, where they end, and where the walk did.
    """
    none_of = categories, categories, 0, categories
    found, walk_end = _pagemap_scan(pagemap, (start, end), none_of, most)
    return found[0::3], found[1::3], walk_end


def _pagemap_scan(
    pagemap: int, span: tuple[int, int], masks: tuple[int, int, int, int], most: int
) -> tuple[array[int], int]:
    """``masks``: inverted, all of, any of, returned."""
    vector = array("Q", bytes(24 * most))
    place = vector.buffer_info()[0]
    argument = bytearray(struct.pack("=12Q", 96, 0, *span, 0, place, most, 0, *masks))
    found = fcntl.ioctl(pagemap, _PAGEMAP_SCAN, argument)
    (walk_end,) = struct.unpack_from("=Q", argument, 32)
    return vector[: 3 * found], walk_end


_PROCMAP_QUERY: Final = 0xC0686611
_PROCMAP_COVERING_OR_NEXT: Final = 0x10
_PROCMAP_STRUCT = struct.Struct("=QQQQQQQQQIIIIQQ")
_NAME_SIZE: Final = 4096  # PATH_MAX
_VMA_BITS = ((1, "r"), (2, "w"), (4, "x"))


@dataclass(frozen=True, slots=True)
class MappingInfo:
    """One mapping, as PROCMAP_QUERY tells it; ``name`` as in the maps file, unescaped."""

    start: int
    end: int
    perms: str
    offset: int
    device: tuple[int, int]
    inode: int
    name: bytes


def procmap_query(maps: int, address: int) -> MappingInfo | None:
    """Ask an open /proc/PID/maps for the mapping at ``address``, or the next one above it.

    ``None`` if there is none. A name over PATH_MAX is left out: the kernel has no answer with it.
    Raises OSError: ENOTTY before 6.11, ESRCH once the process is gone.
    """
    try:
        return _procmap_query(maps, address, bytearray(_NAME_SIZE))
    except OSError as error:
        if error.errno == errno.ENOENT:
            return None
        if error.errno != errno.ENAMETOOLONG:
            raise
    return _procmap_query(maps, address, bytearray())


def _procmap_query(maps: int, address: int, name: bytearray) -> MappingInfo:
    query = bytearray(_PROCMAP_STRUCT.size)
    _PROCMAP_STRUCT.pack_into(
        *(query, 0, _PROCMAP_STRUCT.size, _PROCMAP_COVERING_OR_NEXT, address),
        *(0, 0, 0, 0, 0, 0, 0, 0, len(name), 0, address_of(name), 0),
    )
    fcntl.ioctl(maps, _PROCMAP_QUERY, query)
    fields = _PROCMAP_STRUCT.unpack(query)
    start, end, flags, _page_size, offset, inode, major, minor, name_size = fields[3:12]
    perms = "".join(letter if flags & bit else "-" for bit, letter in _VMA_BITS)
    return MappingInfo(
        start=start,
        end=end,
        perms=perms + ("s" if flags & 8 else "p"),
        offset=offset,
        device=(major, minor),
        inode=inode,
        name=bytes(name[: max(name_size - 1, 0)]),
    )


_SYS_PIDFD_OPEN: Final = 434  # this and the next: the same on every architecture
_SYS_OPENAT2: Final = 437
_RESOLVE_NO_SYMLINKS: Final = 0x04
_RESOLVE_IN_ROOT: Final = 0x10
_RESOLVE_CACHED: Final = 0x20
_syscall = _libc.syscall
_syscall.restype = ctypes.c_long


def open_cached(root: int, path: bytes) -> int:
    """Open ``path`` below the folder ``root`` with O_PATH, without waiting for any filesystem.

    Only names that are cached are followed, and no symbolic links (openat2(2), RESOLVE_CACHED).
    Answers the descriptor; raises OSError: EAGAIN where it would have to wait, ELOOP, ENOENT, and
    ENOSYS or EINVAL before 5.12.
    """
    how = struct.pack(
        "=QQQ",
        os.O_PATH | os.O_CLOEXEC | os.O_NOFOLLOW,
        0,
        _RESOLVE_NO_SYMLINKS | _RESOLVE_IN_ROOT | _RESOLVE_CACHED,
    )
    descriptor: int = _syscall(
        ctypes.c_long(_SYS_OPENAT2),
        ctypes.c_int(root),
        ctypes.c_char_p(path),
        ctypes.c_char_p(how),
        ctypes.c_size_t(len(how)),
    )
    if descriptor < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return descriptor


_statx = _libc.statx
_STATX_SIZE: Final = 256
_STATX_BASIC_STATS: Final = 0x7FF
_STATX_MNT_ID: Final = 0x1000
_AT_EMPTY_PATH: Final = 0x1000
_AT_STATX_DONT_SYNC: Final = 0x4000


@dataclass(frozen=True, slots=True)
class FileStatus:
    """What statx(2) tells of an open file; ``device`` and ``rdev`` are (major, minor).

    ``mount`` is the number of its mount, as mountinfo has it.
    """

    mode: int
    inode: int
    size: int
    block: int
    device: tuple[int, int]
    rdev: tuple[int, int]
    mount: int


def status_without_asking(descriptor: int) -> FileStatus:
    """Look at an open file (O_PATH will do) by what the kernel has of it at this moment.

    With AT_STATX_DONT_SYNC no server is asked, not even FUSE's. Raises OSError.
    """
    found = ctypes.create_string_buffer(_STATX_SIZE)
    if _statx(
        ctypes.c_int(descriptor),
        ctypes.c_char_p(b""),
        ctypes.c_int(_AT_EMPTY_PATH | _AT_STATX_DONT_SYNC),
        ctypes.c_uint(_STATX_BASIC_STATS | _STATX_MNT_ID),
        found,
    ):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    told, block = struct.unpack_from("=II", found, 0)
    (mode,) = struct.unpack_from("=H", found, 28)
    inode, size = struct.unpack_from("=QQ", found, 32)
    rdev_major, rdev_minor, major, minor, mount = struct.unpack_from("=IIIIQ", found, 128)
    return FileStatus(
        mode=mode,
        inode=inode,
        size=size,
        block=block,
        device=(major, minor),
        rdev=(rdev_major, rdev_minor),
        mount=mount if told & _STATX_MNT_ID else _mount_by_fdinfo(descriptor),
    )


def _mount_by_fdinfo(descriptor: int) -> int:
    """The same number before 5.8, where statx does not tell it."""
    with open(f"/proc/self/fdinfo/{descriptor}", "rb") as file:  # noqa: PTH123 - pathlib is slow
        for line in file:
            name, _, value = line.partition(b":")
            if name == b"mnt_id":
                return int(value)
    return -1


_SYSINFO = struct.Struct("@l3L4L2LHHLLI")  # sysinfo(2), without its padding


def swap_bytes() -> int:
    """The size of all swap space of this host (sysinfo(2)); lxcfs does not change this one."""
    found = ctypes.create_string_buffer(2 * _SYSINFO.size)
    _libc.sysinfo(found)
    fields = _SYSINFO.unpack_from(found, 0)
    return int(fields[8]) * int(fields[-1] or 1)


_SYS_PROCESS_MADVISE: Final = 440  # this and the next: the same on every architecture
_SYS_CACHESTAT: Final = 451
_MADV_WILLNEED: Final = 3
MADV_GUARD_INSTALL: Final = 102
_PROT_READ: Final = 1
_MAP_SHARED: Final = 1
_MAP_FAILED: Final = ctypes.c_void_p(-1).value

_mmap = _libc.mmap
_mmap.restype = ctypes.c_void_p
_mmap.argtypes = [
    ctypes.c_void_p,
    ctypes.c_size_t,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_int64,
]


def process_madvise_willneed(pidfd: int, iovecs: array[int], count: int) -> int:
    """Ask for ``count`` ranges of a process to be read in; bytes advised, or a negative errno.

    ``iovecs`` holds address and length of each, interleaved. EPERM without CAP_SYS_NICE
    (process_madvise(2)); it may wait for I/O itself where ranges are many.
    """
    advised: int = _syscall(
        ctypes.c_long(_SYS_PROCESS_MADVISE),
        ctypes.c_int(pidfd),
        ctypes.c_void_p(iovecs.buffer_info()[0]),
        ctypes.c_size_t(count),
        ctypes.c_int(_MADV_WILLNEED),
        ctypes.c_uint(0),
    )
    return advised if advised >= 0 else -ctypes.get_errno()


MOVE_PAGES_NUMBER: Final = {
    "x86_64": 279,
    "aarch64": 239,
    "riscv64": 239,
    "loongarch64": 239,
    "ppc64le": 301,
    "s390x": 310,
}.get(machine.NAME or "")
"""The number of move_pages, which libc has no function for; None where it is not known."""


def page_nodes(pid: int, addresses: array[int]) -> array[int]:
    """Ask on which NUMA node each page of a process is; moves nothing (move_pages(2), no nodes).

    A negative number is an errno: -ENOENT where no page is in the page table, -EFAULT for the zero
    page and where nothing is mapped. Raises OSError: EPERM, ESRCH, ENOSYS (no CONFIG_NUMA).
    """
    statuses = array("i", bytes(4 * len(addresses)))
    if MOVE_PAGES_NUMBER is None:
        raise OSError(errno.ENOSYS, "the number of move_pages is not known here")
    failed: int = _syscall(
        ctypes.c_long(MOVE_PAGES_NUMBER),
        ctypes.c_int(pid),
        ctypes.c_ulong(len(addresses)),
        ctypes.c_void_p(addresses.buffer_info()[0]),
        ctypes.c_void_p(None),
        ctypes.c_void_p(statuses.buffer_info()[0]),
        ctypes.c_int(0),
    )
    if failed < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return statuses


def may_ask_the_cache(descriptor: int) -> bool:
    """Whether mincore(2) tells the truth about this file to this caller.

    To one who neither owns the file nor may write it, mincore says that all of it is resident.
    cachestat(2) has the same check, but says EPERM. Where that call is not to be had (before 6.5,
    or by a filter), mincore is tried on a page that nobody can have: the one behind the last.
    """
    return cached_count(descriptor, 0, 1) is not None or _tells_the_truth(descriptor)


def cached_count(descriptor: int, offset: int, length: int) -> int | None:
    """How many pages of a part of a file are in the page cache, those being read in among them.

    None where cachestat(2) does not tell. It reads nothing in.
    """
    where = struct.pack("=QQ", offset, length)
    answer = bytearray(40)
    failed: int = _syscall(
        ctypes.c_long(_SYS_CACHESTAT),
        ctypes.c_int(descriptor),
        ctypes.c_char_p(where),
        ctypes.c_void_p(address_of(answer)),
        ctypes.c_uint(0),
    )
    return None if failed else int(struct.unpack_from("=Q", answer, 0)[0])


def _tells_the_truth(descriptor: int) -> bool:
    behind = -(-os.fstat(descriptor).st_size // mmap.PAGESIZE) * mmap.PAGESIZE
    try:
        return not any(cached_pages(descriptor, behind, mmap.PAGESIZE))
    except OSError:
        return False


def cached_pages(descriptor: int, offset: int, length: int) -> bytes:
    """Which pages of a file are in the page cache: a byte a page, 1 or 0. Reads nothing in.

    ``offset`` is that of a page. Raises OSError where the file cannot be mapped.
    """
    where = _mmap(None, length, _PROT_READ, _MAP_SHARED, descriptor, offset)
    if where == _MAP_FAILED:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    pages = bytearray(-(-length // mmap.PAGESIZE))
    try:
        failed: int = _libc.mincore(
            ctypes.c_void_p(where), ctypes.c_size_t(length), ctypes.c_void_p(address_of(pages))
        )
        if failed:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
    finally:
        _libc.munmap(ctypes.c_void_p(where), ctypes.c_size_t(length))
    return bytes(page & 1 for page in pages)


_PTRACE_CONT: Final = 7
_PTRACE_SEIZE: Final = 0x4206
_PTRACE_LISTEN: Final = 0x4208
PTRACE_EVENT_STOP: Final = 128
WALL: Final = 0x40000000
"""__WALL of waitpid(2): threads, too."""

_ptrace = _libc.ptrace
_ptrace.restype = ctypes.c_long
_ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]


def ptrace_seize(tid: int) -> int:
    """Trace a thread without stopping it (ptrace(2), PTRACE_SEIZE); 0, or a negative errno.

    It is traced by the calling thread, and let go silently when that ends.
    """
    return 0 if _ptrace(_PTRACE_SEIZE, tid, None, None) >= 0 else -ctypes.get_errno()


def ptrace_cont(tid: int, number: int) -> int:
    """Let a traced thread that has stopped go on, with signal ``number`` unless that is 0."""
    return 0 if _ptrace(_PTRACE_CONT, tid, None, number or None) >= 0 else -ctypes.get_errno()


def ptrace_listen(tid: int) -> int:
    """Leave a traced thread stopped by its group-stop, until SIGCONT ends that."""
    return 0 if _ptrace(_PTRACE_LISTEN, tid, None, None) >= 0 else -ctypes.get_errno()


def lock_in_memory(buffer: mmap.mmap) -> bool:
    """Keep ``buffer`` from ever being swapped out (mlock(2)); False if that is not allowed."""
    return not _libc.mlock(ctypes.c_void_p(address_of(buffer)), ctypes.c_size_t(len(buffer)))


_M_ARENA_MAX: Final = -8  # malloc.h
_mallopt = getattr(_libc, "mallopt", None)
_malloc_trim = getattr(_libc, "malloc_trim", None)  # glibc has it, musl has not


def share_one_heap() -> None:
    """Have all threads that come take memory from one heap; mallopt(3).

    Of the heaps of threads malloc_trim(3) leaves the end, where large blocks are.
    """
    if _mallopt is not None:
        _mallopt(_M_ARENA_MAX, 1)


def trim_heap() -> None:
    """Give what malloc keeps for later back to the kernel; malloc_trim(3)."""
    if _malloc_trim is not None:
        _malloc_trim(0)


PR_GET_DUMPABLE: Final = 3  # linux/prctl.h, as the next ones
PR_SET_DUMPABLE: Final = 4
PR_CAPBSET_DROP: Final = 24
PR_SET_NO_NEW_PRIVS: Final = 38
PR_CAP_AMBIENT: Final = 47
PR_CAP_AMBIENT_CLEAR_ALL: Final = 4


def prctl(option: int, argument: int = 0) -> int:
    """Call prctl(2) for this thread, or its process; 0 or more, or a negative errno."""
    rest = (ctypes.c_ulong(0),) * 3
    done: int = _libc.prctl(ctypes.c_int(option), ctypes.c_ulong(argument), *rest)
    return done if done >= 0 else -ctypes.get_errno()


_CAPABILITY_VERSION_3: Final = 0x20080522


def held_capabilities() -> tuple[int, int]:
    """Give this thread's effective and permitted capabilities (capget(2)), as bits."""
    head = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
    words = array("I", bytes(24))
    _libc.capget(ctypes.c_char_p(head), ctypes.c_void_p(words.buffer_info()[0]))
    return words[0] | words[3] << 32, words[1] | words[4] << 32


def set_capabilities(effective: int, permitted: int) -> int:
    """Have this thread have these alone, and inherit none (capset(2)); 0, or a negative errno."""
    low = 0xFFFF_FFFF
    head = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
    words = (effective & low, permitted & low, 0, effective >> 32, permitted >> 32, 0)
    if _libc.capset(ctypes.c_char_p(head), ctypes.c_char_p(struct.pack("=6I", *words))):
        return -ctypes.get_errno()
    return 0


HARMLESS: Final = {
    "pidfd_open": errno.EINVAL,
    "process_vm_writev": 0,
    "openat2": errno.EINVAL,
    "process_madvise": errno.EBADF,
    "move_pages": 0,
    "mincore": 0,
    "cachestat": errno.EBADF,
}
"""Calls that `try_harmlessly` knows, each with the errno by which a kernel answers that has it."""


def try_harmlessly(call: str) -> int:
    """Make a call of `HARMLESS` with arguments by which nothing happens; 0, or a negative errno.

    The kernel finds fault with them before it looks at privileges, or has nothing to do.
    """
    if call == "process_vm_writev":
        return process_vm_writev(os.getpid(), 0, 0, 0, 0)
    if call == "mincore":
        done = _libc.mincore(None, ctypes.c_size_t(0), None)
    else:
        number = {
            "pidfd_open": _SYS_PIDFD_OPEN,
            "openat2": _SYS_OPENAT2,
            "process_madvise": _SYS_PROCESS_MADVISE,
            "move_pages": MOVE_PAGES_NUMBER,
            "cachestat": _SYS_CACHESTAT,
        }[call]
        if number is None:
            return -errno.ENOSYS
        who = 0 if call == "move_pages" else -1  # ourselves, or none
        done = _syscall(ctypes.c_long(number), ctypes.c_long(who), *(ctypes.c_long(0),) * 5)
    return 0 if done >= 0 else -ctypes.get_errno()
