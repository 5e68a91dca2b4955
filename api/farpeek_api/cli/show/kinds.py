"""What a mapping is for, and its colour."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from farpeek_api.client import MappedRegion


class Kind(StrEnum):
    """As debuggers call them."""

    STACK = "stack"
    HEAP = "heap"
    CODE = "code"
    WRITABLE_CODE = "writable code"
    DATA = "data"
    READ_ONLY = "read-only"
    CLOSED = "closed"

    @property
    def style(self) -> str:
        """Its colour; writable code is underlined."""
        return _STYLES[self]


_STYLES = {
    Kind.STACK: "33",
    Kind.HEAP: "34",
    Kind.CODE: "31",
    Kind.WRITABLE_CODE: "1;4;31",
    Kind.DATA: "35",
    Kind.READ_ONLY: "",
    Kind.CLOSED: "2",
}


def kind_of(mapping: MappedRegion) -> Kind:
    """Tell it by permissions and name."""
    readable, writable, executable = (sign != "-" for sign in mapping.perms[:3])
    if executable:
        return Kind.WRITABLE_CODE if writable else Kind.CODE
    path = mapping.path or ""
    if path == "[stack]" or path.startswith("[stack:"):
        return Kind.STACK
    if path == "[heap]":
        return Kind.HEAP
    if writable:
        return Kind.DATA
    return Kind.READ_ONLY if readable else Kind.CLOSED
