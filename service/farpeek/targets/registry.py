"""The targets that are held: who they are, what becomes of them, and when they are forgotten."""

from __future__ import annotations

import asyncio
import resource
import time
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING, Protocol

from farpeek.errors import NoSuchTarget, ShuttingDown, TargetExited, TooBusy
from farpeek.identity import EventKind, TargetState
from farpeek.kernel import pidfd
from farpeek.targets.claims import Claims, Shares
from farpeek.targets.events import EventRing
from farpeek.targets.exits import ExitWatch
from farpeek.targets.target import Target, target_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from farpeek.identity import Identity, Process, TargetSnapshot
    from farpeek.model import Limits
    from farpeek.targets.claims import Standing
    from farpeek.targets.programs import Programs

    Claiming = Callable[[Claims], None]


class Follower(Protocol):
    """Whoever keeps something for each target, and is told what becomes of them."""

    def held(self, target: Target) -> None:
        """It is held from now on."""
        ...

    def exited(self, target: Target) -> None:
        """It has exited; told once."""
        ...

    def forgotten(self, target: Target) -> None:
        """It is held no more."""
        ...


class Registry:
    """All targets, by id. Lives on the event loop."""

    def __init__(
        self,
        limits: Limits,
        loop: asyncio.AbstractEventLoop,
        watch: type[ExitWatch] = ExitWatch,
    ) -> None:
        """``watch`` is what learns of exits and reaps on this kernel."""
        most = _affordable(limits.max_targets)
        of_one = limits.max_client_targets or most - most // 4
        self._limits = replace(limits, max_targets=most, max_client_targets=of_one)
        self._loop = loop
        self._targets: dict[str, Target] = {}
        self._numbers = count(1)
        self._running: dict[int, Target] = {}  # by pid
        self._exited: dict[str, Target] = {}  # in the order of their exits
        self._waiting: dict[str, set[asyncio.Future[None]]] = {}
        self._forgetting: asyncio.TimerHandle | None = None
        self._watch = watch(loop, self.look_at)
        self.shares = Shares(of_one)
        self.followers: list[Follower] = []
        self.events = EventRing()

    @property
    def limits(self) -> Limits:
        """The limits in force: `max_targets` is what the descriptor limit can carry."""
        return self._limits

    def __iter__(self) -> Iterator[Target]:
        return iter(self._targets.values())

    def __len__(self) -> int:
        return len(self._targets)

    @property
    def exited(self) -> int:
        """How many of the targets have exited."""
        return len(self._exited)

    def get(self, wanted: str) -> Target:
        """The target of that id, whatever its state; else NoSuchTarget."""
        target = self._targets.get(wanted)
        if target is None:
            raise NoSuchTarget(wanted)
        return target

    def get_running(self, wanted: str) -> Target:
        """The target of that id if it lives; else NoSuchTarget or TargetExited."""
        target = self.get(wanted)
        if target.state is not TargetState.RUNNING:
            raise TargetExited(target.snapshot())
        return target

    def find(self, wanted: str) -> Target | None:
        """The target of that id, if there is one."""
        return self._targets.get(wanted)

    def running(self, identity: Identity) -> Target | None:
        """The target that is this process, if it is one."""
        target = self._running.get(identity.pid)
        same = target is not None and target.identity.start_ticks == identity.start_ticks
        return target if same else None

    def id_of(self, identity: Identity) -> str | None:
        """Its id."""
        target = self.running(identity)
        return None if target is None else target.id

    def candidate(self, process: Process, programs: Programs) -> Target:
        """A target that is not held yet, and owns the pidfd: `add` it, or close it."""
        claims = Claims(self.shares)
        return Target(target_id(process, programs.current.identity), process, programs, claims)

    def add(self, target: Target, claim: Claiming) -> tuple[Target, bool]:
        """Hold a candidate; False if its process was held already, by the target of the answer.

        ``claim`` is called with its claims, to add one. Raises TargetExited for a zombie, TooBusy
        if there is no room, and what ``claim`` does; the candidate is closed then.
        """
        process, identity = target.process, target.identity
        try:
            known = self._targets.get(target.id)
            if pidfd.has_exited(process.pidfd):
                self.look_at(known or target)
                raise TargetExited((known or target).snapshot())
            if known is not None:
                claim(known.claims)
                program = known.programs.current
                found = replace(identity, start_time=program.identity.start_time)
                if found.cmdline is None:
                    program.note(replace(found, cmdline=program.identity.cmdline))
                else:
                    program.identity = found
                target.close()
                return known, False
            self._check_room()
            claim(target.claims)
        except BaseException:
            target.close()
            raise
        if len(self._targets) >= self._limits.max_targets:
            self._forget(next(iter(self._exited.values())))
        target.number = next(self._numbers)
        self._targets[target.id] = self._running[process.pid] = target
        target.is_held = True
        target.generation = target.programs.generation
        for follower in self.followers:
            follower.held(target)
        self.events.add(EventKind.REGISTERED, target.snapshot())
        self._watch.add(target)
        return target, True

    def release(self, wanted: str, client: str) -> None:
        """Drop the claim of a client, and forget the target if it was the last one.

        Reads under way finish. Raises NoSuchTarget.
        """
        target = self.get(wanted)
        last = target.snapshot()
        if not target.claims.drop(client):
            raise NoSuchTarget(
                wanted,
                "you have not registered the target: others hold it, or a standing match or "
                "subscription of yours; end those, or drop the claims of all with `?all=true`",
            )
        self._drop_if_unclaimed(target, last)

    def release_for_all(self, wanted: str) -> None:
        """Forget a target, whoever holds it."""
        target = self.get(wanted)
        last = target.snapshot()
        self._forget(target)
        self.events.add(EventKind.RELEASED, last)

    def leave(self, target: Target, match: Standing) -> None:
        """Drop the claim of a standing match."""
        last = target.snapshot()
        target.claims.leave(match)
        if target.is_held:
            self._drop_if_unclaimed(target, last)

    def unsubscribe(self, target: Target) -> None:
        """Drop the claim of a subscription; what has exited is listed all the same."""
        target.claims.unsubscribe()
        if target.is_held and not target.has_exited:
            self._drop_if_unclaimed(target, target.snapshot())

    def _drop_if_unclaimed(self, target: Target, last: TargetSnapshot) -> None:
        """``last`` is how it was when it was held, for those who are told."""
        if not target.claims:
            self._forget(target)
            self.events.add(EventKind.RELEASED, last)

    def look_at(self, target: Target) -> None:
        """Find out what the pidfd of ``target`` says, and tell everybody."""
        if self._targets.get(target.id) is not target:  # released, while a thread read
            if target.note_exit():
                self._tell_exit(target)
            return
        if target.note_exec():
            self.events.add(EventKind.EXEC, target.snapshot())
        if target.note_exit():
            self._tell_exit(target)
            self._stop_running(target)
            self._exited[target.id] = target
            target.claims.count_no_more()
            self.events.add(EventKind.EXITED, target.snapshot())
            self._wake(target.id)
            self._forget_later()
        if target.note_reap(self._watch.is_reaped):
            self._watch.remove(target)
            target.close()
            self.events.add(EventKind.REAPED, target.snapshot())

    async def wait_exit(self, wanted: str, timeout_s: float) -> TargetSnapshot:
        """Return when the target has exited, or at the timeout."""
        target = self.get(wanted)
        if target.state is not TargetState.RUNNING:
            return target.snapshot()
        future: asyncio.Future[None] = self._loop.create_future()
        waiting = self._waiting.setdefault(wanted, set())
        waiting.add(future)
        try:
            async with asyncio.timeout(timeout_s):
                await future
        except TimeoutError:
            pass
        finally:
            waiting.discard(future)
            if not waiting and self._waiting.get(wanted) is waiting:
                del self._waiting[wanted]
        return target.snapshot()

    def stop_waiting(self) -> None:
        """End every `wait_exit` with ShuttingDown."""
        for wanted in list(self._waiting):
            self._wake(wanted, ShuttingDown())

    def close(self) -> None:
        """Let go of all targets."""
        if self._forgetting is not None:
            self._forgetting.cancel()
        for target in list(self):
            self._forget(target)
        self._watch.close()

    def _check_room(self) -> None:
        """Raise TooBusy unless there is room, or one that has exited makes it."""
        if len(self._targets) >= self._limits.max_targets and not self._exited:
            raise TooBusy(
                f"{len(self._targets)} targets are held already (--max-targets); release some"
            )

    def _forget(self, target: Target) -> None:
        del self._targets[target.id]
        self._exited.pop(target.id, None)
        self._stop_running(target)
        self._wake(target.id, NoSuchTarget(target.id))
        target.is_held = False
        target.claims.clear()
        for follower in self.followers:
            follower.forgotten(target)
        if target.state is not TargetState.REAPED:  # else it is closed already
            self._watch.remove(target)
            target.close()

    def _tell_exit(self, target: Target) -> None:
        for follower in self.followers:
            follower.exited(target)

    def _stop_running(self, target: Target) -> None:
        """Free the number, unless it is that of a newer target already."""
        if self._running.get(target.process.pid) is target:
            del self._running[target.process.pid]

    def _wake(self, wanted: str, error: BaseException | None = None) -> None:
        for future in self._waiting.pop(wanted, ()):
            if future.done():
                continue
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)

    def _forget_later(self) -> None:
        """Have the target that exited first forgotten when its time is over."""
        if self._forgetting is None and self._exited:
            oldest = next(iter(self._exited.values()))
            age = time.monotonic() - oldest.exit_seen_at
            self._forgetting = self._loop.call_later(
                max(self._limits.exited_ttl_s - age, 0), self._forget_old
            )

    def _forget_old(self) -> None:
        self._forgetting = None
        limit = time.monotonic() - self._limits.exited_ttl_s
        for target in list(self._exited.values()):
            if target.exit_seen_at > limit:
                break
            self._forget(target)
        self._forget_later()


def _affordable(wanted: int) -> int:
    """Raise the limit of descriptors as far as may be; answer how many targets that allows.

    An eighth, but at least 128, stay for connections and the files that reads look into; of fewer
    than 256, half.
    Each target has two: its pidfd, and one that belongs to its program's memory.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return max(1, min(wanted, (hard - max(hard // 8, min(hard // 2, 128))) // 2))
