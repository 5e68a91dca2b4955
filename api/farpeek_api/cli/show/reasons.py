"""Why bytes are missing, for people."""

from __future__ import annotations

from typing import Final

from farpeek_api.cli.show.escape import safe

MEANING: Final = {
    "unmapped": "nothing is mapped there",
    "no_access": "mapped, but closed to reads",
    "beyond_file": "mapped, but past the end of its file",
    "not_resident": "it would have to be waited for; --mode wait does so",
    "unreadable": "it failed, and may succeed when tried again",
    "read_only": "it may not be written",
    "shared": "a shared mapping; others would see the change",
}


def explained(reason: str) -> str:
    """Name a gap's reason, and say what it means."""
    meaning = MEANING.get(reason)
    return f"{reason} ({meaning})" if meaning else safe(reason)
