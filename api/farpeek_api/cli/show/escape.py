"""Text that others chose (names, paths, command lines), made harmless for a terminal."""

from __future__ import annotations

import unicodedata


def safe(text: str) -> str:
    r"""Escape all that is not shown as itself: controls, escapes, signs that turn the direction.

    A backslash is doubled, so that what is shown stands for one text only.
    """
    return one_line(text.replace("\\", "\\\\"))


def one_line(text: str) -> str:
    r"""Do the same to a message of our own, where a backslash may stand."""
    if text.isprintable():  # of ASCII, all that a terminal shows as it is; of Unicode, no format
        return text
    return "".join(each if each.isprintable() else _escaped(each) for each in text)


def _escaped(character: str) -> str:
    code = ord(character)
    if code < 0x100:  # noqa: PLR2004 - two digits
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"  # noqa: PLR2004 - four


def width(text: str) -> int:
    """How many columns of a terminal a harmless text takes."""
    if text.isascii():
        return len(text)
    return sum(_columns(each) for each in text)


def _columns(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def cut(text: str, columns: int) -> str:
    """Cut a text down to its first ``columns``; the last one says so."""
    if width(text) <= columns:
        return text
    return _fit(text, columns - 1) + "~" if columns > 0 else ""


def cut_left(text: str, columns: int) -> str:
    """Cut a text down to its last ``columns``: of a path, the end tells most."""
    if width(text) <= columns:
        return text
    return "~" + _fit(text[::-1], columns - 1)[::-1] if columns > 0 else ""


def _fit(text: str, columns: int) -> str:
    taken = 0
    for place, each in enumerate(text):
        taken += _columns(each)
        if taken > columns:
            return text[:place]
    return text
