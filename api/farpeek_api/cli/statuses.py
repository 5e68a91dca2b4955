"""Exit statuses of the client commands, and the one table from what went wrong to them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

DONE: Final = 0
FAILED: Final = 1
USAGE: Final = 2
INCOMPLETE: Final = 3
NO_TARGET: Final = 4
NOT_ALLOWED: Final = 5
INTERRUPTED: Final = 130
"""128 + SIGINT, as a shell says it."""

HELP: Final = (
    "Exit status: 0 done, 1 failed, 2 wrong usage, 3 incomplete (gaps), 4 no such target or "
    "exited, 5 not allowed."
)

OF_SLUGS: Final[Mapping[str, int]] = {
    "access-denied": NOT_ALLOWED,
    "already-traced": FAILED,
    "ambiguous": USAGE,
    "audit-unavailable": FAILED,
    "deadline": FAILED,
    "expectation-failed": FAILED,
    "file-remote": FAILED,
    "forbidden": NOT_ALLOWED,
    "internal": FAILED,
    "invalid": USAGE,
    "malformed": FAILED,
    "method-not-allowed": FAILED,
    "no-file": FAILED,
    "no-such-match": FAILED,
    "no-such-process": NO_TARGET,
    "no-such-target": NO_TARGET,
    "not-acceptable": FAILED,
    "not-found": FAILED,
    "range-beyond": FAILED,
    "range-unreadable": INCOMPLETE,
    "shutting-down": FAILED,
    "slow-request": FAILED,
    "target-changed": FAILED,
    "target-exited": NO_TARGET,
    "target-stuck": FAILED,
    "too-busy": FAILED,
    "too-large": USAGE,
    "too-late": FAILED,
    "unauthenticated": NOT_ALLOWED,
    "unsupported": FAILED,
    "unsupported-expectation": FAILED,
    "unsupported-media-type": FAILED,
    "upgrade-required": FAILED,
}
"""Of the service's problems. One that this command line does not know is FAILED."""
