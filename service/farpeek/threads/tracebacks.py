"""What errors hold in memory."""

from __future__ import annotations

import traceback


def empty_frames(error: BaseException | None) -> None:
    """Let go of what the frames hold that ``error`` has passed; where it was raised stays known.

    The traceback of an error holds those frames, and they all that was read until then. Where the
    error is met in one of them again, as in a future that was awaited there, that would stay until
    the garbage is collected: after gigabytes.
    """
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__
