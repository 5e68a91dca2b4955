"""Mappings of other processes, one at a time: PROCMAP_QUERY of linux/fs.h."""

from __future__ import annotations

import errno
import fcntl
import struct
from dataclasses import dataclass
from typing import Final

from farpeek.kernel.uapi.buffers import address_of

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
