"""What may be done: each operation and each message of a stream is one of these."""

from __future__ import annotations

from enum import StrEnum


class Verb(StrEnum):
    """A kind of doing that a policy grants."""

    INSPECT = "inspect"
    """Look at processes, targets, their maps, and the service itself."""
    REGISTER = "register"
    """Make processes targets, and let go of them again."""
    READ = "read"
    EVENTS = "events"
    """Follow what happens to targets."""
    WRITE = "write"
    FILES = "files"
    """Read the files behind mappings."""
    SEARCH = "search"
    METRICS = "metrics"
    ADMIN = "admin"
    """Release others' targets, and label targets for others."""
