"""Making processes targets: by number, by id, by what they are, or the caller itself."""

from __future__ import annotations

import asyncio
import os
from functools import partial
from typing import TYPE_CHECKING, Final

from farpeek.errors import (
    AmbiguousMatch,
    AmbiguousNumber,
    FarpeekError,
    InvalidRequest,
    NoSuchProcess,
    ProcessGone,
    TargetExited,
    TooLarge,
    Unsupported,
    is_out_of_files,
    out_of_files,
)
from farpeek.identity import ListedProcess, PidNamespace
from farpeek.kernel.pidfd import has_exited
from farpeek.targets import callers, processes
from farpeek.targets.claims import Claims
from farpeek.targets.target import pid_in

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from farpeek.identity import Caller, Identity, Match, TargetSnapshot
    from farpeek.reading.lookups import Lookups
    from farpeek.reading.program_watch import ProgramWatch
    from farpeek.targets.registry import Claiming, Registry
    from farpeek.targets.target import Target

    Labels = Mapping[str, str]
    Admits = Callable[[Identity], bool]

MOST_AT_ONCE: Final = 4096
"""Processes that one request makes targets."""

_TOGETHER: Final = 16
"""Of those, how many are looked at at a time: others want the threads, too."""


def everybody(_identity: Identity) -> bool:
    """What admits all."""
    return True


class Registering:
    """Registers processes for clients, each of which has a claim and labels of its own.

    Where a method is given ``admits``, a process that it is False for counts as absent.
    Lives on the event loop. Everything here raises TooBusy, DeadlineExceeded.
    """

    def __init__(self, registry: Registry, lookups: Lookups, watch: ProgramWatch) -> None:
        self._registry = registry
        self._lookups = lookups
        self._watch = watch

    async def by_pid(
        self, pid: int, labels: Labels | None, client: str, admits: Admits = everybody
    ) -> tuple[TargetSnapshot, bool]:
        """Hold process ``pid``; False if it was held already.

        Raises NoSuchProcess, InvalidRequest (a kernel thread, a thread's number, this process),
        TargetExited (a zombie).
        """
        held = await self._hold(pid, admits)
        return self._told(*await self._add(held, _claim(client, labels)))

    async def by_number(
        self,
        number: int,
        meant: PidNamespace | None,
        caller: Caller | None,
        labels: Labels | None,
        client: str,
        admits: Admits = everybody,
    ) -> tuple[TargetSnapshot, bool]:
        """Do the same with a number of the service's, or of the caller's pid namespace.

        Unless it is said which one is meant, they have to be the same: else it is AmbiguousNumber.
        Where the caller's is not known (TCP, or it has ended), the service's is meant.
        """
        if meant is PidNamespace.CALLER:
            return await self._by_callers_number(number, caller, labels, client, admits)
        if meant is None and caller is not None:
            numbers = await self._lookups.look(lambda _: callers.numbers_of(caller))
            if numbers is not None and len(numbers) != 1:
                raise await self._ambiguous(number, caller, admits)
        return await self.by_pid(number, labels, client, admits)

    async def _by_callers_number(
        self,
        number: int,
        caller: Caller | None,
        labels: Labels | None,
        client: str,
        admits: Admits,
    ) -> tuple[TargetSnapshot, bool]:
        if caller is None:
            raise InvalidRequest(
                "only on a unix socket it is known which pid namespace is the caller's",
                ("pid_namespace",),
            )
        found = await self._lookups.look(partial(callers.find, caller, number))
        if found is None or not admits(found):
            raise NoSuchProcess(f"there is no process {number} in your pid namespace")
        return self._told(*await self.found(found, None, _claim(client, labels), admits))

    async def _ambiguous(self, number: int, caller: Caller, admits: Admits) -> AmbiguousNumber:
        def look(deadline: float) -> tuple[Identity | None, Identity | None]:
            try:
                of_caller = callers.find(caller, number, deadline)
            except Unsupported:
                of_caller = None
            return of_caller, processes.identify(number)

        found = await self._lookups.look(look)
        seen = [each if each is not None and admits(each) else None for each in found]
        return AmbiguousNumber(number, *map(self._listed, seen))

    async def caller(
        self,
        caller: Caller | None,
        labels: Labels | None,
        client: str,
        admits: Admits = everybody,
    ) -> tuple[TargetSnapshot, bool]:
        """Hold the caller itself. Raises InvalidRequest, Unsupported, NoSuchProcess."""
        if caller is None:
            raise InvalidRequest("only on a unix socket it is known which process calls", ("self",))
        if caller.pidfd is None and not caller.has_ended:
            raise Unsupported(
                "this kernel does not tell who is at the other end of a socket (SO_PEERPIDFD, "
                "Linux 6.5): register by `pid`"
            )
        if not caller.pid and not caller.has_ended:
            raise Unsupported(
                "you are in a pid namespace that cannot be seen from the service's: share it "
                "(shareProcessNamespace, hostPID, --pid)"
            )
        pidfd = caller.pidfd
        if pidfd is None:
            raise NoSuchProcess("the process that connected has ended")
        held = await self._hold(caller.pid, admits)
        # It lives, so the number was its own when the other pidfd was opened.
        if has_exited(pidfd):
            held.close()
            raise NoSuchProcess("the process that connected has ended")
        return self._told(*await self._add(held, _claim(client, labels)))

    async def by_id(
        self, wanted: str, labels: Labels | None, client: str, admits: Admits = everybody
    ) -> tuple[TargetSnapshot, bool]:
        """Hold the very process that an id was given for, by whatever service of this host.

        Raises InvalidRequest, NoSuchTarget (another boot or host), ProcessGone, TargetExited.
        """
        pid = pid_in(wanted)
        known = self._registry.find(wanted)
        if known is not None and known.has_exited and admits(known.identity):
            raise TargetExited(known.snapshot())
        try:
            held = await self._hold(pid, admits)
        except (NoSuchProcess, InvalidRequest) as error:
            raise ProcessGone(wanted) from error
        if held.id != wanted:
            held.close()
            raise ProcessGone(wanted)
        return self._told(*await self._add(held, _claim(client, labels)))

    async def by_match(
        self, match: Match, labels: Labels | None, client: str, admits: Admits = everybody
    ) -> tuple[TargetSnapshot, bool]:
        """Hold the one process that fits ``match``; AmbiguousMatch if several do.

        This process itself never fits. Raises NoSuchProcess.
        """
        found = await self._fitting(match, admits)
        if not found:
            raise NoSuchProcess("no process that the service can see fits the match")
        if len(found) > 1:
            raise AmbiguousMatch(
                [ListedProcess(each, self._registry.id_of(each)) for each in found]
            )
        return self._told(*await self.found(found[0], match, _claim(client, labels), admits))

    async def all_that_fit(
        self, match: Match, labels: Labels | None, client: str, admits: Admits = everybody
    ) -> list[tuple[int, TargetSnapshot | Exception]]:
        """Hold all that fit ``match`` now; for each its number, and the target or what is wrong.

        Raises TooLarge if they are too many.
        """
        found = await self._fitting(match, admits)
        if len(found) > MOST_AT_ONCE:
            raise TooLarge(
                f"{len(found)} processes fit, and one request may make {MOST_AT_ONCE} of them "
                "targets: say more in `match`"
            )
        held = await self.all_found(found, match, _claim(client, labels), admits)
        return [
            (identity.pid, each if isinstance(each, Exception) else each[0].snapshot())
            for identity, each in zip(found, held, strict=True)
        ]

    async def all_found(
        self,
        found: Sequence[Identity],
        match: Match,
        claim: Claiming,
        admits: Admits = everybody,
    ) -> list[tuple[Target, bool] | Exception]:
        """Hold processes that were found to fit; for each what `found` answers, or raises."""
        held: list[tuple[Target, bool] | Exception] = []
        for first in range(0, len(found), _TOGETHER):
            some = found[first : first + _TOGETHER]
            held += await asyncio.gather(
                *(self._one_of(each, match, claim, admits) for each in some)
            )
        return held

    async def _one_of(
        self, found: Identity, match: Match, claim: Claiming, admits: Admits
    ) -> tuple[Target, bool] | Exception:
        try:
            return await self.found(found, match, claim, admits)
        except FarpeekError as error:
            return error
        except OSError as error:
            if not is_out_of_files(error):
                raise
            return out_of_files()

    async def found(
        self,
        found: Identity,
        match: Match | None,
        claim: Claiming,
        admits: Admits = everybody,
    ) -> tuple[Target, bool]:
        """Hold a process that was found; NoSuchProcess if it is gone, or fits no longer."""
        known = self._registry.running(found)
        if known is not None and match is None:
            claim(known.claims)
            return known, False
        held = await self._hold(found.pid, admits)
        identity = held.identity
        # Between the finding and the holding the number may have gone to another process.
        same = identity.start_ticks == found.start_ticks and identity.ns_pids == found.ns_pids
        if not same or (match is not None and not processes.fits(identity, match)):
            held.close()
            raise NoSuchProcess("the process that fitted ended while it was being registered")
        return await self._add(held, claim)

    async def _hold(self, pid: int, admits: Admits) -> Target:
        """Give a candidate; the caller adds it, or closes it."""
        if pid == os.getpid():
            # Its memory has what other clients send and read, tokens included.
            raise InvalidRequest(
                f"{pid} is the service's own process, which is no target: run a second service to "
                "look into this one",
                ("pid",),
            )
        held = self._registry.candidate(*await self._lookups.hold(pid))
        if not admits(held.identity):
            held.close()
            raise NoSuchProcess(f"there is no process {pid}")
        return held

    async def _fitting(self, match: Match, admits: Admits) -> list[Identity]:
        found = await self._lookups.find(match)
        return [each for each in found if each.pid != os.getpid() and admits(each)]

    async def _add(self, candidate: Target, claim: Claiming) -> tuple[Target, bool]:
        try:
            await self._lookups.look_inside(candidate)
        except BaseException:
            candidate.close()
            raise
        added = self._registry.add(candidate, claim)
        self._watch.begin()
        return added

    def _told(self, target: Target, created: bool) -> tuple[TargetSnapshot, bool]:  # noqa: FBT001 - a pair is passed on
        return target.snapshot(), created

    def _listed(self, identity: Identity | None) -> ListedProcess | None:
        known = None if identity is None else self._registry.id_of(identity)
        return None if identity is None else ListedProcess(identity, known)


def _claim(client: str, labels: Labels | None) -> Claiming:
    return partial(Claims.register, client=client, labels=labels)
