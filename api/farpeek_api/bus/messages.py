"""What requests and answers carry besides their bodies: headers, checked to the last."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from farpeek_api.bus.problems import MALFORMED, TOO_LATE, Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping

TARGET: Final = "Farpeek-Target"
"""What stands in the operation's path: the id of a target or of a standing match, a file's name."""
QUERY: Final = "Farpeek-Query"
TIMEOUT: Final = "Farpeek-Timeout-Ms"
NOT_AFTER: Final = "Farpeek-Not-After"
CREDIT: Final = "Farpeek-Credit"
"""How many messages of the answer may come, counted from its first one."""
STATUS: Final = "Farpeek-Status"
CLOCK: Final = "Farpeek-Clock"
CHUNK: Final = "Farpeek-Chunk"
"""The number of a message of an answer, from 0."""
END: Final = "Farpeek-End"
BYTES: Final = "Farpeek-Bytes"
"""Of a whole answer; in its last message."""
TAKEN: Final = "Farpeek-Taken"
"""How many messages of a client's have been passed on, of an operation that takes more of them."""

EVENT: Final = "Farpeek-Event"
"""What an event is; its number is in `Farpeek-Number`."""
NUMBER: Final = "Farpeek-Number"
RUN: Final = "Farpeek-Run"
"""Of a sampler, for as long as its samples are counted from 0 on."""
DROPPED: Final = "Farpeek-Dropped"
"""Ticks of that run that there will be no sample of."""

COMPLETE: Final = "complete"
CUT: Final = "cut"
PROBLEM: Final = "problem"
"""How an answer ends."""

ERROR: Final = "Nats-Service-Error"
ERROR_CODE: Final = "Nats-Service-Error-Code"

ROOM_FOR_HEADERS: Final = 4096
"""Kept free of each message, for the broker counts its headers as well."""
LARGEST_CHUNK: Final = 512 << 10
DOCUMENT: Final = "document"
"""Member of what `clock` answers: the digest of the document of the node's operations."""
LARGEST_SENT: Final = 16 << 10
"""Bytes in one message of what a client sends on a stream: as many as may be on their way fit into
what a node lets wait, whatever the sizes that they are written in."""
MOST_CREDIT: Final = 32
"""Messages of one answer that may be under way."""

_LONGEST_S: Final = 3600.0
_USUAL_S: Final = 30.0
_LONGEST_VALUE: Final = 4096
_PLAIN: Final = re.compile(r"[\x20-\x7e]*")
_QUERY: Final = re.compile(r"[\x21\x22\x24-\x7e]*")
_COUNT: Final = re.compile(r"[0-9]{1,19}")


def clock_ns() -> int:
    """Give this node's clock, by which deadlines are: it goes on in suspend (clock_gettime(2))."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


@dataclass(frozen=True, slots=True)
class Terms:
    """On which terms a request is made."""

    timeout_s: float = _USUAL_S
    not_after: int | None = None
    """By the node's clock."""
    credit: int = 0
    """0: the answer is one message."""

    def check_time(self) -> None:
        """Raise Refusal if it is too late."""
        if self.not_after is not None and (late_ns := clock_ns() - self.not_after) > 0:
            raise Refusal(
                TOO_LATE,
                f"the request has come {late_ns / 1e9:.3f} s behind its `{NOT_AFTER}`: nothing was "
                "done; send it again if it is still wanted",
            )


def terms(headers: Mapping[str, str]) -> Terms:
    """Take the terms out of a request's headers. Raises Refusal."""
    timeout = count(headers, TIMEOUT)
    credit = count(headers, CREDIT)
    return Terms(
        _USUAL_S if timeout is None else min(timeout / 1000, _LONGEST_S),
        count(headers, NOT_AFTER),
        0 if credit is None else min(credit, MOST_CREDIT),
    )


def credit(headers: Mapping[str, str]) -> int:
    """Give how much of an answer may come. Raises Refusal."""
    return count(headers, CREDIT) or 0


def number(headers: Mapping[str, str]) -> int:
    """Give which message of a client's this is, from 0. Raises Refusal."""
    found = count(headers, CHUNK)
    if found is None:
        raise Refusal(MALFORMED, f"`{CHUNK}` is missing")
    return found


def text(headers: Mapping[str, str], name: str) -> str | None:
    """Give the value of a header; None if it is not there. Raises Refusal."""
    value = headers.get(name)
    if value is None:
        return None
    if len(value) > _LONGEST_VALUE or not _PLAIN.fullmatch(value):
        raise Refusal(
            MALFORMED, f"`{name}` is to be at most {_LONGEST_VALUE} characters of printable ASCII"
        )
    return value


def query(headers: Mapping[str, str]) -> str:
    """Give the query of a request's URL. Raises Refusal."""
    value = text(headers, QUERY) or ""
    if not _QUERY.fullmatch(value):
        raise Refusal(MALFORMED, f"`{QUERY}` is to be as URLs have it: NAME=VALUE&NAME=VALUE")
    return value


def count(headers: Mapping[str, str], name: str) -> int | None:
    """Give the number that a header has; None if it is not there. Raises Refusal."""
    value = headers.get(name)
    if value is None:
        return None
    if not _COUNT.fullmatch(value):
        raise Refusal(MALFORMED, f"`{name}` is to be a number of at most 19 digits")
    return int(value)


def called(name: str) -> str:
    """Give what a header is called here."""
    return _KNOWN.get(name.lower(), name.lower())


def folded(headers: Mapping[str, str] | None) -> dict[str, str]:
    """Give headers by the names that are used here, however they were written."""
    return {called(name): value for name, value in (headers or {}).items()}


_KNOWN: Final = {
    name.lower(): name
    for name in (TARGET, QUERY, TIMEOUT, NOT_AFTER, CREDIT, STATUS, CLOCK, CHUNK, END, BYTES, TAKEN)
} | {name.lower(): name for name in (NUMBER, RUN, DROPPED)}
