"""Subscriptions: reads on the service's own clock, one after the other, for clients of a stream.

When each ticks is up to its beat (see ``beats``). What cannot be read or sent at its time is
dropped, and counted.
"""

from __future__ import annotations

import asyncio
import time
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from farpeek.errors import FarpeekError, TooBusy, is_out_of_files
from farpeek.identity import EventKind
from farpeek_api.audit.entry import GONE
from farpeek_api.http import frames, problems, render
from farpeek_api.http.refusals import AuditUnavailable, Forbidden
from farpeek_api.policy.guard import FORBIDDEN, reason_of
from farpeek_api.policy.verbs import Verb
from farpeek_api.serving.logs import log
from farpeek_api.stream.beats import Beats
from farpeek_api.stream.drops import Drops

if TYPE_CHECKING:
    from collections.abc import Callable

    from farpeek.memory import MemoryService
    from farpeek.reading.gathered import GatheredReads
    from farpeek.threads.budget import Lease
    from farpeek.threads.sweeps import Visit
    from farpeek.threads.tasks import Task
    from farpeek_api.audit.entry import Entry
    from farpeek_api.audit.trail import Trail
    from farpeek_api.policy.reach import Reaches
    from farpeek_api.serving.metrics import StreamCounts
    from farpeek_api.stream.beats import Beat
    from farpeek_api.stream.frame_writer import FrameWriter
    from farpeek_api.stream.messages import Subscribe, SubscribePlan
    from farpeek_api.stream.room import Room
    from farpeek_api.stream.samples import Sample

    Ended = Callable[[int, str], None]

_ENDS: Final = {EventKind.EXITED: "target-exited", EventKind.RELEASED: "no-such-target"}


class Order(NamedTuple):
    """What a client has asked for, and what the audit tells of it."""

    wanted: Subscribe | SubscribePlan
    sample: Sample
    entry: Entry


class Sampler:
    """All subscriptions of all clients. Lives on the event loop."""

    def __init__(
        self,
        service: MemoryService,
        reaches: Reaches,
        room: Room,
        counted: StreamCounts,
        trail: Trail,
    ) -> None:
        """``counted`` is what the service tells of all ticks."""
        self.service = service
        self.trail = trail
        self.reaches = reaches
        self.room = room
        self.counted = counted
        counted.subscriptions = lambda: room.count
        self._by_target: dict[str, dict[Subscription, None]] = {}
        self._beats = Beats(service)
        self._following: asyncio.Task[None] | None = None

    def subscribe(
        self,
        order: Order,
        target: str,
        writer: FrameWriter,
        ended: Ended,
    ) -> Subscription:
        """Begin to sample a target; frames go to ``writer``.

        ``ended`` is called with number and reason when it ends by itself, or by ``end``. Raises
        NoSuchTarget, TargetExited, Unsupported, InvalidRequest, TooLarge, TooBusy, ShuttingDown.
        """
        wanted, sample, entry = order
        sampling = wanted.subscribe
        self.trail.aim(entry, target)
        reach = self.reaches.of(writer.client)
        size = sample.check(reach, target)
        self.room.check(reach, 1, sampling.hz, sample.regions)
        subscription = Subscription(self, order, _Sampled(target, size), writer, ended)
        subscription.release = self.service.subscribe(target)
        self._by_target.setdefault(target, {})[subscription] = None
        self.room.take(reach.client, sampling.hz, sample.regions)
        subscription.beat = self._beats.of(sampling.hz)
        subscription.beat.add(subscription)
        subscription.look_no_more = self.reaches.guard.rounds.add(
            partial(reach.look, target, sample.mode), partial(subscription.end, FORBIDDEN)
        )
        entry.reads = 0
        self.trail.begin(entry)
        if self._following is None:
            self._following = asyncio.ensure_future(self._follow_targets())
        return subscription

    def forget(self, subscription: Subscription) -> None:
        """It has ended."""
        subscription.release()
        subscription.look_no_more()
        same_target = self._by_target[subscription.target]
        del same_target[subscription]
        if not same_target:
            del self._by_target[subscription.target]
        regions = subscription.sample.regions
        self.room.give_back(subscription.client, subscription.hz, regions)
        if subscription.beat is not None:
            self._beats.leave(subscription.beat, subscription.hz, subscription)
        if not self.room.count and self._following is not None:
            self._following.cancel()
            self._following = None

    async def _follow_targets(self) -> None:
        """End subscriptions with their targets, before their next tick would find out."""
        events = self.service.events
        number = events.newest
        while True:
            await events.wait_beyond(number)
            _, happened = events.after(number)
            number = happened[-1].number if happened else events.newest
            for event in happened:
                reason = _ENDS.get(event.kind)
                if reason is not None:
                    for subscription in list(self._by_target.get(event.target.id, ())):
                        subscription.end(reason)


@lru_cache(maxsize=64)
def _time_of(monotonic_ns: int) -> bytes:
    """Write a time of CLOCK_MONOTONIC; reads that are done together have one of them."""
    return render.exact_time(time.time() - time.monotonic() + monotonic_ns / 1e9).encode()


def _nothing() -> None:
    """Of a subscription that has not begun."""


class _Sampled(NamedTuple):
    """What is read, and what `MemoryService.lease_bytes` takes for it."""

    target: str
    size: int


class Subscription:
    """One sample, taken again and again; never more than one at a time."""

    def __init__(
        self,
        sampler: Sampler,
        order: Order,
        sampled: _Sampled,
        writer: FrameWriter,
        ended: Ended,
    ) -> None:
        self._sampler = sampler
        wanted, self.sample, self._entry = order
        self.client = writer.client
        self.reach = sampler.reaches.of(writer.client)
        self.target, self.size = sampled
        self._standing = self.sample.standing(self.reach, self.target, self._on_done)
        self._is_recorded = sampler.trail.covers(self._entry.verb)
        self.hz = wanted.subscribe.hz
        self.release: Callable[[], None] = _nothing
        self.look_no_more: Callable[[], None] = _nothing
        self.beat: Beat | None = None
        self._number = wanted.id
        self._changed_only = wanted.subscribe.changed_only
        self._writer = writer
        self._on_end = ended
        self._over = False
        self._ticks = 0
        self._dropped = Drops()  # since the last frame, or the tick whose read is under way
        self._tick = 0  # of the read that is under way, and what was dropped before it
        self._dropped_before = Drops()
        self._seen = b""  # what stands for the last frame
        self._reading: Task[Any] | Visit | None = None
        self._rendering: asyncio.Task[None] | None = None
        self._lease: Lease | None = None
        self._scheduled = b""
        self._began = 0

    def end(self, reason: str) -> None:
        """Sample no more, and say why."""
        if not self._over:
            self.cancel(reason)
            self._on_end(self._number, reason)

    def cancel(self, reason: str = GONE) -> None:
        """Sample no more; what hangs in the kernel stays there."""
        if self._over:
            return
        self._over = True
        self._sampler.forget(self)
        self._sampler.trail.end(self._entry, reason)
        reading, self._reading = self._reading, None  # which leads back to this
        if reading is not None:
            reading.forget()
        self._standing.end()
        if self._rendering is not None:
            self._rendering.cancel()
        self._let_go()

    def is_due(self, missed: int) -> bool:
        """See ``Ticking``: not while the last read is under way, or could not be sent if it came.

        A tick that is dropped is counted here.
        """
        if self._ticks:
            self._ticks += missed
            self._dropped.service += missed
            self._sampler.counted.dropped += missed
        self._ticks += 1
        if self._lease is None and self._writer.is_open:
            return True
        if self._lease is not None:
            self._dropped.target += 1
        else:
            self._dropped.client += 1
        self._sampler.counted.dropped += 1
        return False

    def tick(self, scheduled: bytes, gathering: GatheredReads, lease: Lease | None) -> None:
        """See ``Ticking``."""
        if self._over:  # since this beat began
            return
        self._scheduled = scheduled
        self._tick = self._ticks
        self._dropped_before = self._dropped.take()
        self._began = time.perf_counter_ns()
        try:
            self._sampler.trail.check(Verb.READ)
            if lease is None:
                lease = self.reach.lease_bytes(self.size)
            else:
                lease.hold()
            self._lease = lease
            self._reading = self._standing.begin(gathering, lease)
            self._sampler.counted.ticks += 1
        except (FarpeekError, Forbidden, AuditUnavailable) as error:
            self._fail(error)

    def _on_done(self, result: Any, error: BaseException | None) -> None:  # noqa: ANN401 - the sample's
        """See ``Task``. Raises nothing."""
        reading, self._reading = self._reading, None
        if result is None or reading is None:
            self._fail(error)
            return
        if self._is_recorded:
            self.sample.record(self._entry, result)
        if self.sample.is_large(result):
            self._rendering = asyncio.ensure_future(self._show_slowly(result))
        else:
            self._show(result, self.sample.gaps_now(result))

    async def _show_slowly(self, result: Any) -> None:  # noqa: ANN401 - the same
        gaps = await self.sample.gaps(result)
        self._rendering = None
        self._show(result, gaps)

    def _show(self, result: Any, gaps: bytes) -> None:  # noqa: ANN401 - the same
        """Send a frame, if there is something to tell and the client takes it."""
        if not self._writer.is_open:
            self._dropped.client += 1
            self._sampler.counted.dropped += 1
            self._drop()
            return
        if self._changed_only and not self._is_new(result, gaps):
            self._drop()
            return
        elapsed_us = (time.perf_counter_ns() - self._began) // 1000
        text = b'{"id":%d,%b,"tick":%d,"scheduled":"%b","at":"%b",%b}' % (
            self._number,
            self._standing.members(result, gaps, elapsed_us),
            self._tick,
            self._scheduled,
            _time_of(self.sample.began_ns(result)),
            self._dropped_before.as_members(),
        )
        lease, self._lease = self._lease, None
        self._writer.send(frames.message(text, self.sample.data(result)), lease)

    def _is_new(self, result: Any, gaps: bytes) -> bool:  # noqa: ANN401 - the same
        """Whether anything differs from what was last sent, of which only a hash is kept."""
        seen, self._seen = self._seen, self.sample.digest(result, gaps)
        return seen != self._seen

    def _fail(self, error: BaseException | None) -> None:
        """A busy service drops a tick; all else that goes wrong is the end."""
        if isinstance(error, TooBusy) or (error is not None and is_out_of_files(error)):
            self._dropped.service += 1
            self._sampler.counted.dropped += 1
            self._drop()
            return
        self._let_go()
        shown = error if isinstance(error, Exception) else RuntimeError()
        if not problems.is_known(shown):
            log.error("a subscription failed", exc_info=error)
        self.end(reason_of(shown, problems.slug(shown)))

    def _drop(self) -> None:
        """No frame comes of the tick whose read was under way."""
        self._dropped.add(self._dropped_before)
        self._let_go()

    def _let_go(self) -> None:
        lease, self._lease = self._lease, None
        if lease is not None:
            lease.let_go()
