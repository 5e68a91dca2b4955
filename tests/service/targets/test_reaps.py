"""A reap is told where a pidfd hangs up, and where none does (before Linux 6.9)."""

from __future__ import annotations

import os
import select
import signal
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from farpeek.access.probe import probe
from farpeek.errors import NoSuchProcess
from farpeek.identity import EventKind, TargetState
from farpeek.kernel import pidfd
from farpeek.memory import MemoryService
from farpeek.model import Limits
from farpeek.targets import exits, processes
from support import leftovers
from support.asking import close
from support.targets import start
from support.waiting import aio_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from farpeek.identity import TargetSnapshot


@pytest_asyncio.fixture
async def asking() -> AsyncIterator[MemoryService]:
    """Open a service as on a kernel where no pidfd hangs up: one edge comes, at the exit."""
    opened = MemoryService(Limits(), replace(probe(), hangs_up=False))
    yield opened
    await close(opened)


@pytest.fixture
def never_hung_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have pidfds say no more than that their process has exited, and to the service alone."""
    poll = pidfd._poll  # noqa: SLF001 - what the kernel says

    def without_it(held: int, wait_ms: int) -> int:
        return poll(held, wait_ms) & ~select.POLLHUP

    monkeypatch.setattr(pidfd, "_poll", without_it)


def _found(service: MemoryService, target_id: str) -> TargetSnapshot:
    return next(each for each in service.targets() if each.id == target_id)


def _pidfds() -> int:
    return sum("pidfd" in name for name in leftovers.descriptors().values())


@pytest.mark.usefixtures("never_hung_up")
async def test_without_a_hang_up_a_timer_finds_the_reap_and_the_pidfd_is_given_back(
    asking: MemoryService,
) -> None:
    assert asking.capabilities["reap"].provided == "emulated"
    before = _pidfds()
    begin = asking.events.newest
    with start("family") as parent:
        snapshot, _ = await asking.register(parent["child"])
        parent.command("end 7")
        await aio_until(
            lambda: _found(asking, snapshot.id).state is TargetState.EXITED, "it has exited"
        )
        assert _pidfds() == before + 1
        parent.command("reap")
        await aio_until(
            lambda: _found(asking, snapshot.id).state is TargetState.REAPED, "it is reaped"
        )
        assert _pidfds() == before
    _, events = asking.events.after(begin)
    assert [each.kind for each in events] == [
        EventKind.REGISTERED,
        EventKind.EXITED,
        EventKind.REAPED,
    ]


@pytest.mark.usefixtures("never_hung_up")
async def test_zombies_that_stay_take_turns_with_those_that_are_reaped(
    asking: MemoryService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exits, "_MOST_ASKED", 1)
    with start("plain") as stays, start("plain") as other:
        kept = (await asking.register(stays.pid))[0].id
        gone = (await asking.register(other.pid))[0].id
        for each, name in ((stays, kept), (other, gone)):
            each.kill()
            await aio_until(
                lambda name=name: _found(asking, name).state is TargetState.EXITED, "it has exited"
            )
        other.reap()
        await aio_until(
            lambda: _found(asking, gone).state is TargetState.REAPED, "the one is reaped"
        )
        assert _found(asking, kept).state is TargetState.EXITED


@pytest.mark.usefixtures("never_hung_up")
async def test_what_is_let_go_of_is_asked_about_no_more(asking: MemoryService) -> None:
    with start("plain") as target:
        name = (await asking.register(target.pid))[0].id
        target.kill()
        await aio_until(lambda: _found(asking, name).state is TargetState.EXITED, "it has exited")
        before = _pidfds()
        asking.release(name)
        assert _pidfds() == before - 1
        again = os.pidfd_open(os.getpid())  # the number of the descriptor is another's by now
        try:
            target.reap()
            watch = asking._registry._watch  # noqa: SLF001 - no other sign of it
            assert isinstance(watch, exits.AskingExitWatch)
            await aio_until(lambda: not watch._exited, "nobody is asked about")  # noqa: SLF001 - the same
        finally:
            os.close(again)


@pytest.mark.usefixtures("never_hung_up")
def test_signal_0_tells_a_zombie_from_one_that_is_gone() -> None:
    with start("plain") as target:
        held = os.pidfd_open(target.pid)
        try:
            assert not pidfd.is_reaped(held)
            target.kill()
            target.await_zombie()
            assert pidfd.has_exited(held)
            assert not pidfd.is_reaped(held)
            target.reap()
            assert not pidfd.has_hung_up(held)
            assert pidfd.is_reaped(held)
        finally:
            os.close(held)


@pytest.mark.usefixtures("never_hung_up")
def test_a_number_that_changed_hands_never_names_its_next_owner(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The pidfd is of one who is gone, and what /proc tells is of the next."""
    with start("plain") as gone, start("plain") as owner:
        held = os.pidfd_open(gone.pid)
        gone.kill(signal.SIGKILL)
        gone.reap()
        monkeypatch.setattr(os, "pidfd_open", lambda _pid: held)
        with pytest.raises(NoSuchProcess, match="ended while it was being registered"):
            processes.hold(owner.pid)
