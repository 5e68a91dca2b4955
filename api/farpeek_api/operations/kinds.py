"""Which problems several operations have in common, by what they do."""

from __future__ import annotations

from typing import Final

ASKED: Final = ("malformed", "too-large", "unsupported-expectation", "too-busy", "internal")
"""Whoever asks, and whatever."""

LOADED: Final = (*ASKED, "forbidden", "shutting-down")
"""Whatever a browser has before it has a token."""

ADMITTED: Final = (
    *ASKED,
    "unauthenticated",
    "forbidden",
    "too-late",
    "shutting-down",
    "audit-unavailable",
)
"""Only who may."""

PARSED: Final = ("invalid",)
"""There may be parameters, known ones or others."""

NEGOTIATED: Final = ("not-acceptable",)
"""The answer has certain forms."""

SENT: Final = ("unsupported-media-type", "slow-request")
"""There is a body."""

LISTED: Final = ("deadline",)
"""All processes are looked at."""

HELD: Final = ("no-such-target",)
"""It is about a target that may have exited."""

ALIVE: Final = (*HELD, "target-exited")
"""It is about a target that runs."""

REACHED: Final = (*ALIVE, "access-denied", "unsupported", "deadline", "target-stuck")
"""A thread looks into the target."""

MEANT: Final = ("target-changed",)
"""The request may say which program it means."""
