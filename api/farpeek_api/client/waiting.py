"""Waiting for a target's exit. It goes on with a service that was started again meanwhile."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Final

from farpeek_api.client import calls
from farpeek_api.client.problems import Interrupted, NoSuchTarget, ShuttingDown, Unreachable
from farpeek_api.client.ranges import register_again
from farpeek_api.client.steps import PATIENCE_S, Call, Pause

if TYPE_CHECKING:
    from farpeek_api.client.results import TargetInfo

_LONGEST_ASK_S: Final = 300.0
_PAUSE_S: Final = 0.1


def wait(target_id: str, timeout_s: float | None) -> Call[TargetInfo]:
    """Wait for a target's exit. Raises TimeoutError."""
    give_up = math.inf if timeout_s is None else time.monotonic() + timeout_s
    away_since: float | None = None
    while True:
        asked = time.monotonic()
        left = max(give_up - asked, 0.001)
        try:
            found = yield from calls.target(target_id, min(left, _LONGEST_ASK_S))
        except (Interrupted, ShuttingDown, Unreachable, NoSuchTarget) as error:
            now = time.monotonic()
            if away_since is None and isinstance(error, (Unreachable, NoSuchTarget)):
                raise  # it was not there to begin with
            if away_since is None or (isinstance(error, Interrupted) and now > asked + _PAUSE_S):
                away_since = now  # until now it was there, and held the question
            if now - away_since > PATIENCE_S:
                raise
            yield Pause(_PAUSE_S)
            if isinstance(error, NoSuchTarget):
                yield from register_again(target_id)
        else:
            away_since = None
            if found.state != "running":
                return found
        if time.monotonic() >= give_up:
            raise TimeoutError(f"target {target_id} has not exited within {timeout_s} s")
