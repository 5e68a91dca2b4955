"""The libraries of a target, from the list that its dynamic linker keeps in memory.

AT_PHDR leads to the program headers, they to _DYNAMIC, its DT_DEBUG to r_debug, and that to the
link maps (link.h of glibc; musl has the same). All of it is what the target wrote, so nothing is
trusted: every list has an end, and every name.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias
from xml.sax.saxutils import quoteattr

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Read: TypeAlias = Callable[[int, int], bytes]
"""Reads an address and a length; what it gives is shorter where there is a gap."""

MOST: Final = 4096
"""Libraries that are told of, in all."""

MOST_NAMESPACES: Final = 16
"""As DL_NNS of glibc: those that dlmopen(3) makes, and the first."""

LONGEST_NAME: Final = 4096
_PAGE: Final = 4096
_FEW: Final = 256
_MOST_HEADERS: Final = 128
_MOST_TAGS: Final = 1024

_HEADER: Final = struct.Struct("<IIQQQQQQ")
_TAG: Final = struct.Struct("<QQ")
_DEBUG: Final = struct.Struct(
    "<iiQQQQQ"
)  # r_version, (gap), r_map, r_brk, r_state, r_ldbase, r_next
_LINK: Final = struct.Struct("<QQQQQ")  # l_addr, l_name, l_ld, l_next, l_prev
_PT_DYNAMIC: Final = 2
_PT_INTERP: Final = 3
_PT_PHDR: Final = 6
_DT_DEBUG: Final = 21
_WITH_NEXT: Final = 2
"""The r_version from which on there is r_next: glibc 2.35."""

_WRAP: Final = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Library:
    """A link map: where it is, what it says, and which namespace's it is (that of an r_debug)."""

    link_map: int
    bias: int
    dynamic: int
    name: str
    namespace: int


def libraries(read: Read, auxv: Mapping[str, int]) -> tuple[int, list[Library]]:
    """Give the program's own link map, 0 if it has none; and all the others, in their order."""
    found = list(_link_maps(read, _r_debug(read, auxv)))
    return (found[0].link_map, found[1:]) if found else (0, [])


def xml(program: int, found: list[Library]) -> bytes:
    """Write the list as qXfer:libraries-svr4 has it."""
    shown = "".join(
        f'<library name={quoteattr(each.name)} lm="{each.link_map:#x}" l_addr="{each.bias:#x}" '
        f'l_ld="{each.dynamic:#x}" lmid="{each.namespace:#x}"/>'
        for each in found
    )
    main = f' main-lm="{program:#x}"' if program else ""
    return f'<library-list-svr4 version="1.0"{main}>{shown}</library-list-svr4>'.encode()


def text(name: bytes) -> str:
    r"""Read a name; what is no UTF-8 in it is written as ``\xNN``."""
    return printable(name.decode("utf-8", "backslashreplace"))


def printable(text: str) -> str:
    r"""Write what XML cannot have as ``\xNN``."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


def interpreter(read: Read, auxv: Mapping[str, int]) -> str | None:
    """Give the name by which a program asks for its dynamic linker; None where it asks for none."""
    found = _segments(read, auxv).get(_PT_INTERP)
    return None if found is None else text(_name(read, found))


def _segments(read: Read, auxv: Mapping[str, int]) -> dict[int, int]:
    """Where the segments of each kind are in memory: the last one of those that are alike."""
    at, count = auxv.get("AT_PHDR", 0), min(auxv.get("AT_PHNUM", 0), _MOST_HEADERS)
    found = {
        kind: address for kind, _, _, address, *_ in _parts(_HEADER, read(at, count * _HEADER.size))
    }
    # A program that says nothing of its own headers is one that is not moved.
    bias = at - found[_PT_PHDR] if _PT_PHDR in found else 0
    return {kind: (address + bias) & _WRAP for kind, address in found.items()}


def _r_debug(read: Read, auxv: Mapping[str, int]) -> int:
    """Where the dynamic linker's r_debug is; 0 in a static program, and before it is ready."""
    dynamic = _segments(read, auxv).get(_PT_DYNAMIC, 0)
    for tag, value in _parts(_TAG, read(dynamic, _MOST_TAGS * _TAG.size) if dynamic else b""):
        if tag in (0, _DT_DEBUG):
            return value if tag else 0
    return 0


def _link_maps(read: Read, r_debug: int) -> Iterator[Library]:
    seen: set[int] = {0}
    namespaces = 0
    while r_debug not in seen and namespaces < MOST_NAMESPACES and len(seen) < MOST:
        seen.add(r_debug)
        namespaces += 1
        data = read(r_debug, _DEBUG.size).ljust(_DEBUG.size, b"\0")
        version, _, link, *_, following = _DEBUG.unpack(data)
        while link not in seen and len(seen) < MOST:
            seen.add(link)
            found = read(link, _LINK.size)
            if len(found) < _LINK.size:
                break
            bias, name, dynamic, after, _ = _LINK.unpack(found)
            yield Library(link, bias, dynamic, text(_name(read, name)), r_debug)
            link = after
        r_debug = following if version >= _WITH_NEXT else 0


def _name(read: Read, address: int) -> bytes:
    """Read a name up to its end: first a few bytes, and never over a page's end too early."""
    name = b""
    few = _FEW
    while address and len(name) < LONGEST_NAME:
        length = min(few, LONGEST_NAME - len(name), _PAGE - address % _PAGE)
        part, end, _ = (data := read(address, length)).partition(b"\0")
        name += part
        if end or len(data) < length:
            break
        address, few = (address + length) & _WRAP, _PAGE
    return name


def _parts(layout: struct.Struct, data: bytes) -> Iterator[tuple[int, ...]]:
    return layout.iter_unpack(data[: len(data) // layout.size * layout.size])
