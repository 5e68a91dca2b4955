"""Ticks of a subscription: what each is, and those that have come and that nobody has taken."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from farpeek_api.client.results import ReadResult
from farpeek_api.client.steps import MIB

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from farpeek_api.client.plans import PlanResult
    from farpeek_api.client.problems import PeekError

    Deliveries = list[Callable[[], None]]


MOST_TICKS: Final = 4096
MOST_TICK_BYTES: Final = 64 * MIB
"""Of one subscription, that nobody has taken yet; what comes then is dropped, and counted."""


@dataclass(frozen=True, slots=True)
class Tick:
    """One reading of a subscription.

    ``number`` counts from 1, lost ones included. It was to be read when it was ``scheduled``, and
    was begun ``at``. ``dropped`` are those lost since the tick before, ``dropped_by`` says through
    whom: ``client`` (nobody took them), ``target`` (a read was still under way), ``service``.
    """

    number: int
    scheduled: datetime
    at: datetime
    dropped: int
    dropped_by: Mapping[str, int]
    found: ReadResult | PlanResult

    @property
    def result(self) -> ReadResult:
        """What the read gave."""
        if isinstance(self.found, ReadResult):
            return self.found
        raise TypeError("it is a plan that is subscribed to: what came of it is in `plan`")

    @property
    def plan(self) -> PlanResult:
        """What came of the plan."""
        if isinstance(self.found, ReadResult):
            raise TypeError("it is no plan that is subscribed to: what was read is in `result`")
        return self.found

    @property
    def data(self) -> bytes:
        """The bytes of the regions, one behind the other."""
        return self.result.data

    @property
    def size(self) -> int:
        """How many bytes came."""
        return len(self.found.data) if isinstance(self.found, ReadResult) else self.found.size


@dataclass(frozen=True, slots=True)
class Left:
    """A target of a standing match that is sampled no more, and the slug that says why."""

    target: str
    why: str


class Ticks:
    """Ticks of one subscription that have come, and how it ended."""

    def __init__(self) -> None:
        self.hz: float | None = None
        """How often it is read; None until the service has agreed."""
        self.ended: str | None = None
        """Why it has ended: ``unsubscribed``, ``target-exited``, or a problem's slug."""
        self.error: PeekError | None = None
        """What is raised at its end, if that was a mistake."""
        self.left: deque[Left] = deque(maxlen=MOST_TICKS)
        """Targets of a standing match that are sampled no more, the last ones."""
        self._ticks: deque[Tick] = deque()
        self._bytes = 0
        self._dropped = 0

    @property
    def is_ready(self) -> bool:
        """Whether there is a tick, or none will come."""
        return bool(self._ticks) or self.ended is not None

    def add(self, tick: Tick) -> None:
        """Keep a tick, unless there are too many that nobody has taken."""
        size = tick.size
        full = len(self._ticks) >= MOST_TICKS or self._bytes + size > MOST_TICK_BYTES
        if full and self._ticks:
            self._dropped += 1 + tick.dropped
            return
        if self._dropped:
            by = {**tick.dropped_by, "client": tick.dropped_by.get("client", 0) + self._dropped}
            tick = replace(tick, dropped=tick.dropped + self._dropped, dropped_by=by)
            self._dropped = 0
        self._ticks.append(tick)
        self._bytes += size

    def take(self) -> Tick | None:
        """Take the oldest; None at the end. Raises what it has ended by, if that was a mistake."""
        if self._ticks:
            tick = self._ticks.popleft()
            self._bytes -= tick.size
            return tick
        if self.error is not None:
            raise self.error
        return None

    def end(self, why: str, error: PeekError | None = None) -> None:
        """Let nothing come any more."""
        if self.ended is None:
            self.ended, self.error = why, error
