"""How a target has ended, as far as the kernel tells."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from farpeek_api.client import Target, TargetInfo

_PARENTS_S: Final = 1.0
"""What a parent may take to ask how its child has ended: for others the kernel tells it then."""

_PAUSE_S: Final = 0.02


def exit_of(target: Target) -> TargetInfo:
    """Look again until the kernel tells how it has ended, if that comes soon."""
    give_up = time.monotonic() + _PARENTS_S
    while True:
        info = target.refresh()
        if info.exit is not None or info.state == "reaped" or time.monotonic() > give_up:
            return info
        time.sleep(_PAUSE_S)
