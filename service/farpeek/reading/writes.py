"""What a write may ask for, and what it takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from farpeek import regions
from farpeek.errors import TooLarge
from farpeek.reading import reads

if TYPE_CHECKING:
    from farpeek.model import Limits, WriteSpec

_COPIES: Final = 3
"""What is written, what was there before, and what is there afterwards."""


def cost(spec: WriteSpec, limits: Limits) -> int:
    """Answer the bytes that a write takes; InvalidRequest or TooLarge if it cannot be."""
    count = len(spec.addresses)
    if count > limits.max_regions:
        raise TooLarge(f"{count} regions; one request may have {limits.max_regions}")
    size, most = regions.check_write(spec), limits.max_request_bytes
    if size > most:
        raise TooLarge(f"{size} bytes; one request may write {most} (--max-request-bytes)")
    return reads.cost(_COPIES * size, count)
