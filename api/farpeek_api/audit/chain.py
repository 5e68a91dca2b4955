"""What ties a line to the one before: the SHA-256 of its bytes, without its newline."""

from __future__ import annotations

import json
import re
from hashlib import sha256
from typing import Any, Final, NamedTuple, cast

NOTHING: Final = "0" * 64
"""What the first line of all goes on from."""

START: Final = "start"
STOP: Final = "stop"
DROPPED: Final = "dropped"
REFUSED: Final = "refused"

_HASH: Final = re.compile(r"[0-9a-f]{64}")


class Link(NamedTuple):
    """A line, as the next one knows it."""

    seq: int
    hash: str


class Line(NamedTuple):
    """What of a line matters to the chain."""

    seq: int
    prev: str
    time: str
    event: str | None  # of the audit itself, as `start`
    members: dict[str, Any]


FIRST: Final = Link(0, NOTHING)


def digest(line: bytes) -> str:
    """Give what stands for a line, which has no newline."""
    return sha256(line).hexdigest()


def parse(line: bytes) -> Line | None:
    """Read a line; None for what is none of an audit."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict):
        return None
    members = cast("dict[str, Any]", value)
    seq, prev, at = members.get("seq"), members.get("prev"), members.get("time")
    if type(seq) is not int or seq < 1 or not isinstance(at, str) or not isinstance(prev, str):
        return None
    if _HASH.fullmatch(prev) is None:
        return None
    event = members.get("event")
    return Line(seq, prev, at, event if isinstance(event, str) else None, members)
