"""What was done since the start, for whoever watches the service."""

from __future__ import annotations

import threading
from collections import Counter
from operator import attrgetter
from typing import TYPE_CHECKING

from farpeek.model import GapReason, Mode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from farpeek.model import Gap

_REASON = attrgetter("reason")


class Counts:
    """Numbers that only rise. Any thread may add to them."""

    def __init__(self) -> None:
        self.read_bytes = dict.fromkeys(Mode, 0)
        self.gaps = dict.fromkeys(GapReason, 0)
        self._lock = threading.Lock()  # += is two steps

    def add_read(self, mode: Mode, size: int, gaps: Sequence[Gap] = ()) -> None:
        """Count a read of ``size`` bytes, and what it could not read."""
        reasons = Counter(map(_REASON, gaps)) if gaps else None
        with self._lock:
            self.read_bytes[mode] += size
            if reasons:
                for reason, count in reasons.items():
                    self.gaps[reason] += count
