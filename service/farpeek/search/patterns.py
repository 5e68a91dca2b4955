"""Patterns of requests, made ready to be looked for."""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING, Any, Final

from farpeek.addressing import untagged_range
from farpeek.errors import InvalidRequest
from farpeek.model import ADDRESS_LIMIT
from farpeek.search.matchers import Fixed, Matcher, Order, Pointers, Variable, compiled, re2
from farpeek.search.model import (
    LARGEST_ALIGN,
    LONGEST_MATCH,
    LONGEST_REGEX,
    Hex,
    Number,
    NumberType,
    PointerTo,
    Regex,
    Text,
)

if TYPE_CHECKING:
    from farpeek.search.model import Pattern

MOST_STEPS: Final = 5000
"""Of what RE2 makes of an expression. Where its automaton grows too large, it takes all of them at
each byte, some 10 ns each, and cannot be interrupted meanwhile."""

_FORMATS: Final = {
    NumberType.U8: "B",
    NumberType.U16: "H",
    NumberType.U32: "I",
    NumberType.U64: "Q",
    NumberType.I8: "b",
    NumberType.I16: "h",
    NumberType.I32: "i",
    NumberType.I64: "q",
    NumberType.F32: "f",
    NumberType.F64: "d",
}
_HEX = re.compile(r"(?:[0-9a-fA-F]{2}|\?\?)(?: ?(?:[0-9a-fA-F]{2}|\?\?))*", re.ASCII)
_ANY: Final = "??"


def compile_pattern(pattern: Pattern, order: Order, pointer_size: int) -> Matcher:
    """Make ``pattern`` ready, for a target of that byte order and size of pointers.

    Raises InvalidRequest.
    """
    if isinstance(pattern, Text):
        return _text(pattern)
    if isinstance(pattern, Hex):
        return _hex(pattern.hex)
    if isinstance(pattern, Number):
        return _number(pattern, order)
    if isinstance(pattern, PointerTo):
        return _pointer(pattern, order, pointer_size)
    return _regex(pattern)


def _wrong(cause: str, *place: str) -> InvalidRequest:
    return InvalidRequest(cause, ("pattern", *place))


def _text(pattern: Text) -> Matcher:
    try:
        encoded = pattern.text.encode(pattern.encoding)
    except UnicodeEncodeError:
        raise _wrong(f"it has a character that {pattern.encoding} has not", "text") from None
    if not 0 < len(encoded) <= LONGEST_MATCH:
        raise _wrong(f"it has to be 1 to {LONGEST_MATCH} bytes in its encoding", "text")
    return Fixed(list(encoded), 1)


def _hex(text: str) -> Matcher:
    if not _HEX.fullmatch(text):
        raise _wrong("write two hex digits for each byte, ?? for any: `4d ?? 49`", "hex")
    packed = text.replace(" ", "")
    digits = [packed[at : at + 2] for at in range(0, len(packed), 2)]
    if len(digits) > LONGEST_MATCH:
        raise _wrong(f"it has to be 1 to {LONGEST_MATCH} bytes", "hex")
    if all(each == _ANY for each in digits):
        raise _wrong("every memory fits it: give at least one byte that is no ??", "hex")
    return Fixed([None if each == _ANY else int(each, 16) for each in digits], 1)


def _number(pattern: Number, order: Order) -> Matcher:
    code = _FORMATS[pattern.type]
    number = pattern.number
    if code not in "fd" and number != int(number):
        raise _wrong(f"{pattern.type} has no fractions", "number")
    try:
        value = float(number) if code in "fd" else int(number)
        packed = struct.pack(("<" if order == "little" else ">") + code, value)
    except (struct.error, OverflowError):
        raise _wrong(f"it does not fit into {pattern.type}", "number") from None
    align = len(packed) if pattern.align is None else pattern.align
    if not 1 <= align <= LARGEST_ALIGN:
        raise _wrong(f"from 1 to {LARGEST_ALIGN}", "align")
    return Fixed(list(packed), align)


def _pointer(pattern: PointerTo, order: Order, size: int) -> Matcher:
    start, end = pattern.start, pattern.end
    if not 0 <= start < end <= ADDRESS_LIMIT:
        raise _wrong(
            "it is the first address that a pointer may have, and the one behind the last",
            "pointer_to",
        )
    start, end = untagged_range(start, end)
    last = min(end, 1 << 8 * size) - 1
    if start > last:
        raise _wrong(f"no pointer of {size} bytes is as high", "pointer_to")
    return Pointers(start, last, order, size)


def _regex(pattern: Regex) -> Matcher:
    encoded = pattern.regex.encode("utf-8", "surrogatepass")
    if not 0 < len(encoded) <= LONGEST_REGEX:
        raise _wrong(f"it has to be 1 to {LONGEST_REGEX} bytes", "regex")
    if _compile(encoded).search(b"") is not None:
        raise _wrong("it matches the empty text, which is everywhere: have it match more", "regex")
    # Lines begin behind newlines, for memory has no beginning of its own.
    regexp = _compile(b"(?m:" + encoded + b")")
    if regexp.programsize > MOST_STEPS:
        raise _wrong(
            f"it is {regexp.programsize} steps, and may be {MOST_STEPS}: have it repeat less",
            "regex",
        )
    return Variable(regexp)


def _compile(pattern: bytes) -> Any:  # noqa: ANN401 - re2 has no types
    try:
        return compiled(pattern)
    except re2.error as error:
        cause = error.args[0] if error.args else b""
        shown = cause.decode("utf-8", "replace") if isinstance(cause, bytes) else str(cause)
        raise _wrong(f"RE2 does not take it: {shown[:200]}", "regex") from None
