"""Bytes of the command line, as hexadecimal digits: ``deadbeef``, ``de ad be ef``."""

from __future__ import annotations

from farpeek_api.cli.errors import WrongWord


def digits(word: str) -> bytes:
    """Read digits, with spaces between bytes if there are any. Raises WrongWord."""
    try:
        found = bytes.fromhex(word) if word.isascii() else b""
    except ValueError:
        found = b""
    if not found:
        raise WrongWord(
            f"{word!r} is no bytes: write pairs of hexadecimal digits, as 'de ad be ef'"
        )
    return found
