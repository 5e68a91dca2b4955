"""What all subscriptions take together, and of that each client: there is an end to it."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from farpeek.errors import TooBusy
from farpeek_api.serving.limits import MOST_REGIONS, MOST_TICKS_PER_S

if TYPE_CHECKING:
    from farpeek_api.policy.reach import Reach


class Room:
    """Counts what subscriptions take, by ticks a second and regions. Lives on the event loop."""

    def __init__(self, most: int, most_of_one: int) -> None:
        self._most = most
        self._most_of_one = most_of_one
        self.count = 0
        self._ticks_per_s = 0.0
        self._regions = 0
        self._count_of: defaultdict[str, int] = defaultdict(int)  # by client
        self._ticks_of: defaultdict[str, float] = defaultdict(float)

    def check(self, reach: Reach, more: int, hz: float, regions: int) -> None:
        """Raise TooBusy unless there is room for so many more subscriptions of that size each."""
        most_ticks = reach.rate.ticks_per_s
        if most_ticks is not None and self._ticks_of[reach.client] + more * hz > most_ticks:
            raise TooBusy(
                f"the policy lets this client's subscriptions tick {most_ticks:g} times a second "
                "together: take a lower `hz`, or end some"
            )
        if self.count + more > self._most:
            raise TooBusy(
                f"{self._most} subscriptions may be there (--max-subscriptions), each target of a "
                f"standing match counted, and {self.count} are there already: end some"
            )
        own = self._count_of[reach.client]
        if own + more > self._most_of_one:
            raise TooBusy(
                f"a client may have {self._most_of_one} subscriptions (--max-client-subscriptions),"
                f" each target of a standing match counted, and this one has {own}: end some"
            )
        if self._ticks_per_s + more * hz > MOST_TICKS_PER_S:
            raise TooBusy(
                f"all subscriptions together may tick {MOST_TICKS_PER_S} times a second, and do so "
                f"{self._ticks_per_s:g} times already: take a lower `hz`, or end some"
            )
        if self._regions + more * regions > MOST_REGIONS:
            raise TooBusy(
                f"all subscriptions together may have {MOST_REGIONS} regions, and have "
                f"{self._regions} already: end some"
            )

    def take(self, client: str, hz: float, regions: int) -> None:
        """Count one more."""
        self.count += 1
        self._ticks_per_s += hz
        self._regions += regions
        self._count_of[client] += 1
        self._ticks_of[client] += hz

    def give_back(self, client: str, hz: float, regions: int) -> None:
        """Count one less."""
        self.count -= 1
        self._regions -= regions
        self._count_of[client] -= 1
        self._ticks_of[client] -= hz
        if not self._count_of[client]:
            del self._count_of[client], self._ticks_of[client]
        # What sums of rates leave behind is not carried on.
        self._ticks_per_s = self._ticks_per_s - hz if self.count else 0.0
