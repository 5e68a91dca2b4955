"""Numbers of the command line: ``64``, ``0x40``, ``4K``, ``1MiB``."""

from __future__ import annotations

import re
from typing import Final

from farpeek_api.cli.errors import WrongWord

ADDRESS_LIMIT: Final = 1 << 64
AMOUNT: Final = r"0[xX][0-9a-fA-F]{1,20}|[0-9]{1,24}(?:[kKMGT](?:iB|B)?)?"
"""What a number looks like. Longer ones are out of range whatever their digits are."""

_UNITS: Final = {"": 0, "k": 10, "m": 20, "g": 30, "t": 40}


def amount(word: str) -> int | None:
    """Read a number; None for what is none. K, M, G, T (or KiB, ...) are powers of 1024."""
    if re.fullmatch(AMOUNT, word) is None:
        return None
    if word[:2].lower() == "0x":
        return int(word, 16)
    digits = word.rstrip("kKMGTiB")
    unit = word[len(digits) : len(digits) + 1]
    return int(digits) << _UNITS[unit.lower()]


def length(word: str) -> int:
    """Read a LENGTH in bytes. Raises WrongWord."""
    found = amount(word)
    if found is None:
        raise WrongWord(f"{word!r} is no length: write bytes, as 64, 0x40, 4K or 1M")
    if not 0 < found < ADDRESS_LIMIT:
        raise WrongWord(f"{word!r} is no length: it has to be 1 byte or more, and below 2^64")
    return found
