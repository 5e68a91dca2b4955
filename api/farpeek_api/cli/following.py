"""Ticks of a target, taken up again where the stream has ended, as by a restart of the service."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from farpeek_api.client import Interrupted, NoSuchTarget, ShuttingDown, Unreachable
from farpeek_api.client.steps import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from farpeek_api.client import Client, PeekError, Target, Tick
    from farpeek_api.client.calls import Mode

_PAUSE_S: Final = 0.1
_AWAY: Final = (Interrupted, Unreachable, ShuttingDown)


class Following:
    """Iterates over the ticks of a region; ``away`` is told once, each time they end too early.

    Their numbers go on, and those that nobody was there to read count as dropped by the service.
    """

    def __init__(
        self,
        peek: Client,
        target: Target,
        region: tuple[int, int],
        mode: Mode | None,
        away: Callable[[PeekError], None],
    ) -> None:
        self._peek = peek
        self._target = target
        self._region = region
        self._mode: Mode | None = mode
        self._away = away
        self._last: Tick | None = None
        self.ended: str | None = None
        """Why there are no more ticks; None if they were left."""

    def ticks(self, hz: float) -> Generator[Tick]:
        """Take ``hz`` of them a second, up to the target's end.

        Raises PeekError: what has stood against it for as long as a restart may take.
        """
        give_up: float | None = None
        while True:
            try:
                for tick in self._subscribed(hz):
                    give_up = None
                    self._last = tick
                    yield tick
            except (*_AWAY, NoSuchTarget) as error:
                if self._last is None:
                    raise  # there was nothing to go on with
                if give_up is None:
                    give_up = time.monotonic() + PATIENCE_S
                    self._away(error)
                if time.monotonic() > give_up:
                    raise
                time.sleep(_PAUSE_S)
                if isinstance(error, NoSuchTarget):
                    self._register_again()
            else:
                return

    def _subscribed(self, hz: float) -> Generator[Tick]:
        """Take what one subscription gives."""
        before = self._last
        skipped = 0
        with (
            self._peek.stream() as stream,
            stream.subscribe(self._target, [self._region], hz=hz, mode=self._mode) as ticks,
        ):
            for tick in ticks:
                if before is None:
                    yield replace(tick, number=tick.number + skipped)
                    continue
                first = _behind(before, tick, ticks.hz or hz)
                before, skipped = None, first.number - tick.number
                yield first
            self.ended = ticks.ended

    def _register_again(self) -> None:
        """Be known to a service that was started again."""
        with suppress(*_AWAY):
            # The very process: its number's next owner is no answer to its id.
            self._peek.target(self._target.id)


def _behind(before: Tick, tick: Tick, hz: float) -> Tick:
    """Count what was lost between two ticks of two subscriptions."""
    passed_s = (tick.scheduled - before.scheduled).total_seconds()
    lost = max(tick.dropped, round(passed_s * hz) - 1)  # a clock may have been set back
    by = dict(tick.dropped_by)
    by["service"] = by.get("service", 0) + lost - tick.dropped
    return replace(tick, number=before.number + lost + 1, dropped=lost, dropped_by=by)
