"""Requests that are not to be begun behind a time: it has come late, or the service was stopped.

Whoever asks from far cannot know when a request arrives, and must not have it done once it is given
up. The time is by this host's CLOCK_BOOTTIME, which goes on while the host is suspended.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Final

from farpeek_api.http.refusals import Malformed, TooLate

if TYPE_CHECKING:
    from aiohttp import web

HEADER: Final = "Farpeek-Not-After"

_TIME: Final = re.compile(r"[0-9]{1,19}")
_SECOND_NS: Final = 10**9


def check(request: web.BaseRequest) -> None:
    """Raise TooLate if its time is over, where it has one."""
    left_s(request)


def left_s(request: web.BaseRequest) -> float | None:
    """Give the time that is left; None where it has no end. Raises TooLate, Malformed."""
    wanted = request.headers.get(HEADER)
    if wanted is None:
        return None
    if not _TIME.fullmatch(wanted):
        raise Malformed(f"`{HEADER}` is to be nanoseconds of CLOCK_BOOTTIME: at most 19 digits")
    left_ns = int(wanted) - time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    if left_ns < 0:
        raise TooLate(-left_ns / _SECOND_NS)
    return left_ns / _SECOND_NS
