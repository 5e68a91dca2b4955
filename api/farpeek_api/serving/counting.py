"""What any server here counts of itself, for Prometheus.

Counting is a number in a dictionary; what Prometheus makes of it is made when somebody asks. The
library's own counters take 1 to 2 us each, which is some percent of a small read.

No label holds a pid, an address, a path or an id; all come from closed lists.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections import defaultdict
from typing import TYPE_CHECKING, Final, TypeVar

from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.registry import Collector

import farpeek

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from aiohttp import web
    from prometheus_client.metrics_core import Metric

S = TypeVar("S", bound=str)

BUCKETS_S: Final = (
    *(0.0001, 0.00025, 0.0005, 0.001),
    *(0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0),
)
"""Those of OpenTelemetry's http.server.request.duration, and four for what takes microseconds."""

REFUSALS: Final = frozenset(
    {"unauthenticated", "forbidden", "access-denied", "too-busy", "target-stuck", "shutting-down"}
)
"""Outcomes of requests that were not tried: who asks may not, or there is no room."""

LOOK_S: Final = 0.25
"""Between two looks at how late the loop is."""


class Histogram:
    """How often something took how long."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS_S) + 1)
        self.total = 0.0

    def observe(self, seconds: float) -> None:
        """Count one."""
        self.counts[bisect_left(BUCKETS_S, seconds)] += 1
        self.total += seconds

    def buckets(self) -> list[tuple[str, float]]:
        """Give the counts as Prometheus has them: each with all that are below."""
        shown: list[tuple[str, float]] = []
        below = 0
        for bound, count in zip((*map(str, BUCKETS_S), "+Inf"), self.counts, strict=True):
            below += count
            shown.append((bound, below))
        return shown


class Requests:
    """Requests by route and outcome, and how long they took."""

    def __init__(self, outcomes: Iterable[str]) -> None:
        """``outcomes``: how requests can end, a closed list."""
        self._outcomes = frozenset(outcomes)
        self.counts: defaultdict[tuple[str, str], int] = defaultdict(int)
        self.durations: defaultdict[str, Histogram] = defaultdict(Histogram)

    def count(self, route: str, outcome: str, seconds: float | None) -> None:
        """Count an answer; ``seconds`` is None for what goes on for as long as its client likes."""
        self.counts[route, outcome if outcome in self._outcomes else "internal"] += 1
        if seconds is not None:
            self.durations[route].observe(seconds)


class Numbers(Collector):
    """All numbers of one server. Lives on the event loop."""

    def __init__(self, outcomes: Iterable[str]) -> None:
        """``outcomes``: see ``Requests``."""
        self.requests = Requests(outcomes)
        self._lag = Histogram()
        self._timer: asyncio.TimerHandle | None = None
        self.refused_files: Callable[[], Mapping[str, bool]] = dict
        """Of each thing that is made of files: whether those that are there now were refused."""
        self.registry = CollectorRegistry(auto_describe=False)
        self.registry.register(self)
        ProcessCollector(registry=self.registry)
        GCCollector(registry=self.registry)

    def start(self) -> None:
        """Begin to look how late the loop is."""
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(LOOK_S, self._look, loop.time() + LOOK_S)

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _look(self, due: float) -> None:
        self._lag.observe(max(0.0, asyncio.get_running_loop().time() - due))
        self.start()

    def collect(self) -> Iterable[Metric]:
        """Give everything, as it is now."""
        yield from self._of_requests()
        yield from self.of_its_own()
        refused = {what: int(are_refused) for what, are_refused in self.refused_files().items()}
        yield gauge(
            "farpeek_files_refused",
            "1 where the files were refused, and those before are in use",
            "what",
            refused,
        )
        lag = HistogramMetricFamily(
            "farpeek_loop_lag_seconds", "How late the event loop was, looked at four times a second"
        )
        lag.add_metric([], self._lag.buckets(), self._lag.total)
        yield lag
        yield InfoMetricFamily(
            "farpeek_build", "What runs here", {"version": farpeek.__version__, "api": "v1"}
        )

    def of_its_own(self) -> Iterable[Metric]:
        """Give what this kind of server has, and others have not."""
        return ()

    def _of_requests(self) -> Iterable[Metric]:
        requests = CounterMetricFamily(
            "farpeek_requests", "Requests by route and outcome", labels=["route", "outcome"]
        )
        refused: dict[str, int] = dict.fromkeys(sorted(REFUSALS), 0)
        for (route, outcome), count in self.requests.counts.items():
            requests.add_metric([route, outcome], count)
            if outcome in refused:
                refused[outcome] += count
        yield requests
        yield counter("farpeek_refused", "Requests that were not tried", "reason", refused)
        durations = HistogramMetricFamily(
            "farpeek_request_duration_seconds",
            "From a request's head to the end of its answer; without events and streams",
            labels=["route"],
        )
        for route, histogram in self.requests.durations.items():
            durations.add_metric([route], histogram.buckets(), histogram.total)
        yield durations


def counter(name: str, text: str, label: str, values: Mapping[S, int]) -> Metric:
    """Make a counter, with a number for each value of a label."""
    family = CounterMetricFamily(name, text, labels=[label])
    for value, count in values.items():
        family.add_metric([value], count)
    return family


def gauge(name: str, text: str, label: str, values: Mapping[S, int]) -> Metric:
    """Make a gauge, with a number for each value of a label."""
    family = GaugeMetricFamily(name, text, labels=[label])
    for value, count in values.items():
        family.add_metric([value], count)
    return family


def route_of(request: web.BaseRequest) -> str:
    """Name the route that was found for a request, as it stands in the table of routes."""
    found: web.UrlMappingMatchInfo | None = getattr(request, "_match_info", None)
    resource = None if found is None else found.route.resource
    return "none" if resource is None else f"{request.method} {resource.canonical}"
