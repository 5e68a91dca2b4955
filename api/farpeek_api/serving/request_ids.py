"""A name for each request, by which its answer, its problem and the lines of the log are found.

A client's own ``X-Request-Id`` is kept where it is one; else it gets one.
"""

from __future__ import annotations

import itertools
import re
import secrets
from contextvars import ContextVar
from typing import Final

HEADER: Final = "X-Request-Id"
CURRENT: Final[ContextVar[str | None]] = ContextVar("request_id", default=None)
"""That of the request which is served; each has a task, and so a context, of its own."""

_VALID: Final = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")
_prefix: Final = secrets.token_hex(4)  # of this process
_numbers: Final = itertools.count(1)


def take(given: str | None) -> str:
    """Begin a request: ``given`` by its client, or a new one. What is no id is not repeated."""
    if given is None or _VALID.fullmatch(given) is None:
        given = f"{_prefix}-{next(_numbers)}"
    CURRENT.set(given)
    return given
