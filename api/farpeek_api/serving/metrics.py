"""What the service counts of its memory, targets, streams and audit, for Prometheus."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from farpeek_api.serving.counting import Numbers, counter, gauge

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from prometheus_client.metrics_core import Metric

    from farpeek.memory import MemoryService
    from farpeek_api.audit.trail import Trail


class StreamCounts:
    """What streams count; they add to it."""

    __slots__ = ("dropped", "subscriptions", "ticks")

    def __init__(self) -> None:
        self.subscriptions: Callable[[], int] = int
        self.ticks = 0
        self.dropped = 0


class Metrics(Numbers):
    """All numbers of one service. Lives on the event loop."""

    def __init__(self, service: MemoryService, outcomes: Iterable[str], trail: Trail) -> None:
        """``outcomes``: see ``Requests``."""
        super().__init__(outcomes)
        self._service = service
        self._trail = trail
        self.streams = StreamCounts()
        self.lost_events = 0

    def of_its_own(self) -> Iterable[Metric]:
        """Give what the service has."""
        yield from self._of_reads()
        yield from self._of_targets()
        yield from self._of_streams()
        yield from self._of_audit()

    def _of_reads(self) -> Iterable[Metric]:
        counts = self._service.counts
        yield counter("farpeek_read_bytes", "Bytes read from targets", "mode", counts.read_bytes)
        yield counter("farpeek_gaps", "Gaps in answers", "reason", counts.gaps)

    def _of_targets(self) -> Iterable[Metric]:
        state = self._service.state()
        threads = {name: getattr(state.threads, name) for name in ("busy", "idle", "stuck")}
        yield gauge("farpeek_threads", "Threads that read memory", "state", threads)
        targets = {"running": state.running, "exited": state.exited}
        yield gauge("farpeek_targets", "Targets that are held", "state", targets)
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
        yield counter("farpeek_audit_lines", "Lines of the audit", "state", lines)
        yield GaugeMetricFamily(
            "farpeek_audit_queued_lines", "Lines of the audit that are not written yet", queued
        )
