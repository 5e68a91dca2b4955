"""What the service counts of itself, for Prometheus.

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

    from prometheus_client.metrics_core import Metric

    from farpeek.memory import MemoryService
    from farpeek_api.audit.trail import Trail

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


class StreamCounts:
    """What streams count; they add to it."""

    __slots__ = ("dropped", "subscriptions", "ticks")

    def __init__(self) -> None:
        self.subscriptions: Callable[[], int] = int
        self.ticks = 0
        self.dropped = 0


class Metrics(Collector):
    """All numbers of one service. Lives on the event loop."""

    def __init__(self, service: MemoryService, outcomes: Iterable[str], trail: Trail) -> None:
        """``outcomes``: see ``Requests``."""
        self._service = service
        self._trail = trail
        self.requests = Requests(outcomes)
        self._lag = Histogram()
        self._timer: asyncio.TimerHandle | None = None
        self.streams = StreamCounts()
        self.lost_events = 0
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
        yield from self._of_reads()
        yield from self._of_targets()
        yield from self._of_streams()
        yield from self._of_audit()
        refused = {what: int(are_refused) for what, are_refused in self.refused_files().items()}
        yield _gauge(
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
        yield _counter("farpeek_refused", "Requests that were not tried", "reason", refused)
        durations = HistogramMetricFamily(
            "farpeek_request_duration_seconds",
            "From a request's head to the end of its answer; without events and streams",
            labels=["route"],
        )
        for route, histogram in self.requests.durations.items():
            durations.add_metric([route], histogram.buckets(), histogram.total)
        yield durations

    def _of_reads(self) -> Iterable[Metric]:
        counts = self._service.counts
        yield _counter("farpeek_read_bytes", "Bytes read from targets", "mode", counts.read_bytes)
        yield _counter("farpeek_gaps", "Gaps in answers", "reason", counts.gaps)

    def _of_targets(self) -> Iterable[Metric]:
        state = self._service.state()
        threads = {name: getattr(state.threads, name) for name in ("busy", "idle", "stuck")}
        yield _gauge("farpeek_threads", "Threads that read memory", "state", threads)
        targets = {"running": state.running, "exited": state.exited}
        yield _gauge("farpeek_targets", "Targets that are held", "state", targets)
        stuck = len({each.target for each in state.stuck})
        yield GaugeMetricFamily(
            "farpeek_stuck_targets", "Targets that a thread hangs for in the kernel", stuck
        )
        yield GaugeMetricFamily(
            "farpeek_inflight_bytes", "Bytes of the budget that are held", state.held_bytes
        )
        yield CounterMetricFamily(
            "farpeek_target_exits", "Targets that were seen to exit", self._service.events.exits
        )
        yield CounterMetricFamily(
            "farpeek_events_lost",
            "Times that a client of events was told that some are lost",
            self.lost_events,
        )

    def _of_streams(self) -> Iterable[Metric]:
        yield GaugeMetricFamily(
            "farpeek_stream_subscriptions",
            "Subscriptions; of a standing match, each target",
            self.streams.subscriptions(),
        )
        yield CounterMetricFamily(
            "farpeek_ticks", "Ticks of subscriptions that became a read", self.streams.ticks
        )
        yield CounterMetricFamily(
            "farpeek_ticks_dropped", "Ticks that came to nothing", self.streams.dropped
        )

    def _of_audit(self) -> Iterable[Metric]:
        written, dropped, queued = self._trail.counts()
        lines = {"written": written, "dropped": dropped}
        yield _counter("farpeek_audit_lines", "Lines of the audit", "state", lines)
        yield GaugeMetricFamily(
            "farpeek_audit_queued_lines", "Lines of the audit that are not written yet", queued
        )


def _counter(name: str, text: str, label: str, values: Mapping[S, int]) -> Metric:
    family = CounterMetricFamily(name, text, labels=[label])
    for value, count in values.items():
        family.add_metric([value], count)
    return family


def _gauge(name: str, text: str, label: str, values: Mapping[S, int]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=[label])
    for value, count in values.items():
        family.add_metric([value], count)
    return family
