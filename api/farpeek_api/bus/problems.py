"""What goes wrong between a client and a node, as problems like those of the service (RFC 9457)."""

from __future__ import annotations

import json
from typing import Final, NamedTuple


class Kind(NamedTuple):
    """One kind of problem."""

    status: int
    slug: str
    title: str
    retryable: bool = False


MALFORMED: Final = Kind(400, "malformed", "The request cannot be read")
UNKNOWN_OPERATION: Final = Kind(404, "unknown-operation", "There is no such operation")
TOO_LATE: Final = Kind(408, "too-late", "The request has come too late, and nothing was done")
NO_CREDIT: Final = Kind(408, "no-credit", "Nobody takes the answer")
NAME_TAKEN: Final = Kind(409, "node-name-taken", "Another agent has that name")
TOO_LARGE: Final = Kind(413, "answer-too-large", "The answer does not fit into one message")
REQUEST_TOO_LARGE: Final = Kind(413, "too-large", "The request is too large")
NEEDS_DEADLINE: Final = Kind(428, "not-after-required", "What changes something needs a deadline")
TOO_BUSY: Final = Kind(429, "too-busy", "The agent has too much to do", retryable=True)
BROKEN: Final = Kind(502, "transfer-broken", "The answer is not whole", retryable=True)
OUTCOME_UNKNOWN: Final = Kind(502, "outcome-unknown", "Nobody knows whether it was done")
UNREACHABLE: Final = Kind(
    503, "service-unreachable", "The agent does not reach its service", retryable=True
)
BROKER_UNREACHABLE: Final = Kind(
    503, "broker-unreachable", "The broker is not reached", retryable=True
)
DEADLINE: Final = Kind(504, "deadline", "The time is over", retryable=True)

KINDS: Final = tuple(each for each in list(globals().values()) if isinstance(each, Kind))
"""What an agent answers, or whoever asks it."""

NOBODY: Final = Kind(404, "unknown-node", "Nobody answers to that name", retryable=True)
NOT_PERMITTED: Final = Kind(403, "forbidden", "The broker does not allow it")
LOST: Final = BROKER_UNREACHABLE
ASKING: Final = (NOBODY, NOT_PERMITTED)
"""What else goes wrong for whoever asks."""


class Refusal(Exception):
    """Something is not done, or not whole; ``str(error)`` is one sentence with the cure."""

    def __init__(self, kind: Kind, detail: str) -> None:
        super().__init__(detail)
        self.kind = kind

    def document(self, node: str) -> bytes:
        """Give the problem as JSON."""
        status, slug, title, retryable = self.kind
        return json.dumps(
            {
                "type": f"urn:farpeek:problem:{slug}",
                "title": title,
                "status": status,
                "detail": str(self),
                "retryable": retryable,
                "node": node,
            }
        ).encode()
