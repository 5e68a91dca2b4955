"""What a read may ask for, and what it takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from farpeek import regions
from farpeek.errors import TooLarge
from farpeek.kernel import uapi

if TYPE_CHECKING:
    from farpeek.model import Limits, ReadSpec

_LIGHT: Final = 64 << 10
"""Bytes, which take some microseconds."""


def size(spec: ReadSpec, limits: Limits) -> int:
    """Answer the bytes of a read; InvalidRequest or TooLarge if it cannot be."""
    count = len(spec.regions.addresses)
    if count > limits.max_regions:
        raise TooLarge(f"{count} regions; one request may have {limits.max_regions}")
    asked = regions.check(spec.regions)
    most = min(limits.max_request_bytes, uapi.MAX_RW_COUNT)
    if asked > most:
        raise TooLarge(f"{asked} bytes; one answer may carry {most} (--max-request-bytes)")
    return asked


def is_light(size: int) -> bool:
    """Whether several reads of that many bytes can be done one behind the other, unnoticed."""
    return size <= _LIGHT
