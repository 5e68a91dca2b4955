"""Standing matches: what is to be held, now and later, and finding it at little cost.

A look at every process twice a second would take a core where there are 8,000. Only their numbers
are listed that often. A new one is looked at, again soon after, and then more and more rarely:
most processes become what they are in their first moments (fork, execve, setuid), and of the others
some traits tell that nothing has changed.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from farpeek.targets import processes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from farpeek.identity import Identity, Match
    from farpeek.targets.target import Target

RAREST: Final = 16
"""Scans between two looks at one process, at most."""


@dataclass(slots=True, eq=False)
class StandingMatch:
    """All that fit ``match`` are held for ``client``. Lives on the event loop."""

    id: str
    client: str
    match: Match
    labels: Mapping[str, str]
    limit: int  # of those that run
    created_at: float
    admits: Callable[[Identity], bool]  # False for what its client is not to have
    is_new: bool = True  # not everything was looked at for it
    running: dict[str, Target] = field(default_factory=dict[str, "Target"])
    exited: dict[str, Target] = field(default_factory=dict[str, "Target"])
    refused: set[int] = field(default_factory=set[int])  # fit as well, and could not be held

    @property
    def room(self) -> int:
        """How many more it may hold."""
        return max(0, self.limit - len(self.running))


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a scan looks for: matches by their ids, and which of them are new."""

    matches: Sequence[tuple[str, Match]]
    new: AbstractSet[str]
    again: AbstractSet[int]  # processes that are told once more when their turn comes


@dataclass(slots=True)
class Found:
    """What a scan has found: pairs of a match's id and a process, and numbers that are gone."""

    fitting: list[tuple[str, Identity]]
    gone: AbstractSet[int]
    is_complete: bool = True  # else it begins again for new matches


@dataclass(slots=True)
class _Seen:
    """A process, as it was at the last look."""

    traits: tuple[bytes | int, ...] | None
    next_look: int  # number of a scan
    pause: int  # in scans


class Scanner:
    """Finds what fits, scan after scan, in threads."""

    def __init__(self) -> None:
        self._seen: dict[int, _Seen] = {}
        self._number = 0
        # One whose deadline is over may still be at it.
        self._busy = threading.Lock()

    def scan(self, wanted: Wanted, deadline: float) -> Found:
        """What has begun or changed, and fits; for new matches whatever fits.

        What was not looked at by the deadline is new to the next scan.
        """
        if not self._busy.acquire(blocking=False):
            return Found([], frozenset(), is_complete=False)
        try:
            return self._scan(wanted, deadline)
        finally:
            self._busy.release()

    def _scan(self, wanted: Wanted, deadline: float) -> Found:
        self._number += 1
        pids = set(processes.pids())
        found = Found([], self._seen.keys() - pids)
        for pid in found.gone:
            del self._seen[pid]
        new = [each for each in wanted.matches if each[0] in wanted.new]
        with_cgroup = any(match.cgroup or match.container for _, match in wanted.matches)
        for pid in pids:
            if time.monotonic() >= deadline:
                found.is_complete = False
                break
            matches = wanted.matches if self._is_of_interest(pid, wanted, with_cgroup) else new
            identity = processes.identify(pid) if matches else None
            if identity is not None:
                fitting = (name for name, match in matches if processes.fits(identity, match))
                found.fitting += [(name, identity) for name in fitting]
        return found

    def _is_of_interest(self, pid: int, wanted: Wanted, with_cgroup: bool) -> bool:  # noqa: FBT001 - asked for each process
        """Whether it is new, or another one than at the last look, if its turn has come."""
        seen = self._seen.get(pid)
        if seen is not None and seen.next_look > self._number:
            return False
        traits = processes.traits(pid, with_cgroup=with_cgroup)
        if seen is None or seen.traits != traits:
            self._seen[pid] = _Seen(traits, self._number + 1, 1)
            return True
        # Those that were found together go apart, so that no scan has all of them.
        early = pid % RAREST if 2 * seen.pause == RAREST else 0
        seen.pause = min(2 * seen.pause, RAREST)
        seen.next_look = self._number + seen.pause - early
        return pid in wanted.again
