"""Sizes for people."""

from __future__ import annotations

from typing import Final

_UNITS: Final = "BKMGTPE"


def size(count: int) -> str:
    """Write bytes in the largest unit that leaves a number: ``4K``, ``1.5M``; powers of 1024."""
    unit = max(0, (count.bit_length() - 1) // 10)
    value = count / (1 << 10 * unit)
    if round(value, 1) >= 1000 and unit + 1 < len(_UNITS):  # noqa: PLR2004 - three digits
        unit += 1
        value = count / (1 << 10 * unit)
    text = f"{value:.1f}".removesuffix(".0") if value < 100 else f"{value:.0f}"  # noqa: PLR2004
    return text + _UNITS[unit]
