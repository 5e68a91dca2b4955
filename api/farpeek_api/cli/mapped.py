"""What mappings are called."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from farpeek_api.client import MappedRegion


def path(mapping: MappedRegion) -> str:
    """Give its path or name; empty if it has none.

    Behind the path of a file that is gone the kernel writes so, and that is no part of it.
    """
    shown = mapping.path or ""
    return shown.removesuffix(" (deleted)") if mapping.members.get("deleted") else shown


def names(mapping: MappedRegion) -> tuple[str, ...]:
    """Give all that it may be called: its path, and the last part of that."""
    whole = path(mapping)
    if not whole:
        return ()
    return (whole, whole.rpartition("/")[2]) if whole.startswith("/") else (whole,)
