"""Bytes as numbers of the target's, and as texts."""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING, Final, NamedTuple

from farpeek_api.cli.show.escape import safe
from farpeek_api.cli.show.reasons import explained

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from farpeek_api.client import Gap

_UNSIGNED: Final = {"u8": "B", "u16": "H", "u32": "I", "u64": "Q"}
_SIGNED: Final = {"i8": "b", "i16": "h", "i32": "i", "i64": "q"}
_CODES: Final = _UNSIGNED | _SIGNED | {"f32": "f", "f64": "d"}
TYPES: Final = (*_CODES, "pointer", "cstring")
_POINTERS: Final = {4: "I", 8: "Q"}


class Value(NamedTuple):
    """A value at an address; ``missing`` is the reason why there is none."""

    address: int
    value: int | float | bytes | None
    missing: str | None = None

    def shown(self, kind: str) -> str:
        """Write it for people."""
        match self.value:
            case None:
                return f"-- {explained(self.missing or '')}"
            case bytes(text):
                return safe_text(text)
            case int(number):
                return f"{number:#x}" if kind == "pointer" else str(number)
            case float(number):
                return f"{number:.9g}" if kind == "f32" else repr(number)

    def json(self, kind: str) -> int | float | str | None:
        """Write it for programs: a pointer as all addresses are, and a number that JSON lacks."""
        match self.value:
            case bytes(text):
                return text.decode("utf-8", "backslashreplace")
            case int(number):
                return f"{number:#x}" if kind == "pointer" else number
            case float(number):
                return number if math.isfinite(number) else str(number)
            case None:
                return None


def safe_text(text: bytes) -> str:
    r"""Write bytes as a harmless text; ``\x80`` is a byte that is no UTF-8."""
    return "".join(
        f"\\x{ord(each) - 0xDC00:02x}" if "\udc80" <= each <= "\udcff" else safe(each)
        for each in text.decode("utf-8", "surrogateescape")
    )


def layout(kind: str, byte_order: str | None, pointer_size: int | None) -> struct.Struct:
    """Give the layout of one value. ``kind`` is any of TYPES but cstring.

    A program whose byte order nobody could tell cannot be read either, and the read says why.
    """
    code = _POINTERS[pointer_size or 8] if kind == "pointer" else _CODES[kind]
    return struct.Struct((">" if byte_order == "big" else "<") + code)


def values(how: struct.Struct, address: int, data: bytes, gaps: Sequence[Gap]) -> Iterator[Value]:
    """Take bytes apart. A value that has a byte in a gap is missing."""
    for at in range(0, len(data), how.size):
        here = address + at
        gap = next((each for each in gaps if _touches(each, here, how.size)), None)
        if gap is not None:
            yield Value(here, None, gap.reason)
        else:
            (value,) = how.unpack_from(data, at)
            yield Value(here, value)


def _touches(gap: Gap, address: int, length: int) -> bool:
    return gap.address < address + length and gap.address + gap.length > address
