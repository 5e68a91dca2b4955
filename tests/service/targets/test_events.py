from __future__ import annotations

import asyncio
import time
from dataclasses import replace

from farpeek.identity import Claim, EventKind, Identity, TargetSnapshot, TargetState
from farpeek.targets.events import EventRing

TARGET = TargetSnapshot(
    id="1-1",
    identity=Identity(
        pid=1,
        ns_pids=(1,),
        start_ticks=0,
        start_time=0.0,
        comm="init",
        exe=None,
        exe_deleted=False,
        ppid=1,
        process_state="sleeping",
        uid=0,
        gid=0,
        cgroup=None,
        container=None,
        pointer_size=None,
        byte_order=None,
    ),
    generation=1,
    page_size=4096,
    address_bits=64,
    state=TargetState.RUNNING,
    registered_at=0.0,
    exited_at=None,
    exit=None,
    claims={},
)


def ring_of(events: int, size: int = 8) -> EventRing:
    ring = EventRing(size)
    for _ in range(events):
        ring.add(EventKind.REGISTERED, TARGET)
    return ring


def test_labels_of_targets_that_are_gone_are_not_kept_without_end() -> None:
    labelled = replace(TARGET, claims={"uid 0": Claim({"name": "x" * 96})})
    ring = EventRing(1000, most_of_texts=1000)
    for _ in range(100):
        ring.add(EventKind.REGISTERED, labelled)
    lost, events = ring.after(ring.newest - 10)
    assert (lost, len(events)) == (False, 10)
    assert ring.after(ring.newest - 11)[0]
    for _ in range(500):
        ring.add(EventKind.REGISTERED, TARGET)
    assert ring.after(ring.newest - 510, 1000) == (
        False,
        [*events, *ring.after(ring.newest - 500, 1000)[1]],
    )


def test_arguments_of_targets_that_are_gone_are_not_kept_without_end() -> None:
    long = replace(TARGET, identity=replace(TARGET.identity, cmdline=b"0\0" * 50))
    ring = EventRing(1000, most_of_texts=1000)
    for _ in range(100):
        ring.add(EventKind.EXITED, long)
    assert not ring.after(ring.newest - 10)[0]
    assert ring.after(ring.newest - 11)[0]


def test_numbers_rise_across_restarts() -> None:
    before = time.time_ns() // 1000
    assert EventRing().newest >= before


def test_a_reader_gets_what_follows_its_number() -> None:
    ring = ring_of(5)
    lost, events = ring.after(ring.newest - 2)
    assert not lost
    assert [event.number for event in events] == [ring.newest - 1, ring.newest]


def test_a_reader_that_is_up_to_date_gets_nothing() -> None:
    ring = ring_of(5)
    assert ring.after(ring.newest) == (False, [])


def test_a_ring_that_has_gone_past_a_reader_says_lost() -> None:
    ring = EventRing(size=8)
    seen = ring.newest
    for _ in range(9):
        ring.add(EventKind.REGISTERED, TARGET)
    lost, events = ring.after(seen)
    assert lost
    assert [event.number for event in events] == list(range(seen + 2, seen + 10))
    assert ring.after(seen + 1)[0] is False


def test_numbers_of_another_service_say_lost() -> None:
    ring = ring_of(5)
    assert ring.after(0)[0]
    assert ring.after(ring.newest + 1)[0]


def test_no_more_events_than_asked_for_are_given_at_once() -> None:
    ring = ring_of(8)
    lost, events = ring.after(ring.newest - 8, most=3)
    assert (lost, len(events)) == (False, 3)


async def test_waiting_ends_with_the_next_event() -> None:
    ring = ring_of(1)
    waiting = asyncio.create_task(ring.wait_beyond(ring.newest))
    await asyncio.sleep(0)
    assert not waiting.done()
    ring.add(EventKind.EXITED, TARGET)
    await asyncio.wait_for(waiting, 5)


async def test_a_reader_that_gives_up_leaves_nothing_behind() -> None:
    ring = ring_of(1)
    waiting = asyncio.create_task(ring.wait_beyond(ring.newest))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert ring._waiting == []  # noqa: SLF001 - nothing else shows it
