"""A target: one process, held by its pidfd, from registration to the end of its listing.

    running ──pidfd readable──▶ exited ──pidfd hung up──▶ reaped ──TTL over──▶ forgotten

Its memory is gone from `exited` on; its number can belong to another process from `reaped` on, when
the pidfd is closed. Lives on the event loop.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from farpeek import addressing
from farpeek.errors import InvalidRequest, NoSuchTarget
from farpeek.identity import TargetSnapshot, TargetState
from farpeek.kernel import pidfd
from farpeek.model import PAGE_SIZE

if TYPE_CHECKING:
    from collections.abc import Callable

    from farpeek.identity import ExitStatus, Identity, Process
    from farpeek.targets.claims import Claims
    from farpeek.targets.programs import Programs


_ID: Final = re.compile(r"([1-9][0-9]{0,9})-(0|[1-9][0-9]{0,19})")
_MARK_BYTES: Final = 2  # of the boot, so that an id of another one is told from one that is gone
_DIGEST_BYTES: Final = 6


class Target:
    """Owns a pidfd: no thread uses it after it is closed, since each holds the target."""

    __slots__ = (
        "_holds",
        "_released",
        "claims",
        "exit",
        "exit_seen_at",
        "exited_at",
        "generation",
        "id",
        "is_held",
        "number",
        "process",
        "programs",
        "registered_at",
        "state",
        "transfers",
    )

    def __init__(
        self, target_id: str, process: Process, programs: Programs, claims: Claims
    ) -> None:
        self.id = target_id
        self.process = process
        self.programs = programs
        self.generation = programs.generation  # the last one that was told
        self.claims = claims
        self.number = 0  # of its registration
        self.state = TargetState.RUNNING
        self.registered_at = time.time()
        self.exited_at: float | None = None
        self.exit_seen_at = 0.0  # the same by time.monotonic
        self.exit: ExitStatus | None = None
        self.is_held = False  # listed, and not let go of
        self.transfers = 0  # long reads under way
        self._holds = 0
        self._released = False

    @property
    def identity(self) -> Identity:
        """Who it is, as far as is known: of the program that it executes."""
        return self.programs.current.identity

    @property
    def has_exited(self) -> bool:
        """Whether its memory is gone, as far as is known."""
        return self.state is not TargetState.RUNNING

    def snapshot(self) -> TargetSnapshot:
        """The target as it is now."""
        return TargetSnapshot(
            id=self.id,
            identity=self.identity,
            generation=self.programs.generation,
            page_size=PAGE_SIZE,
            address_bits=addressing.bits(),
            state=self.state,
            registered_at=self.registered_at,
            exited_at=self.exited_at,
            exit=self.exit,
            claims=self.claims.by_client,
        )

    def hold(self) -> None:
        """A thread is about to use the pidfd."""
        self._holds += 1

    def let_go(self) -> None:
        """A thread has returned, and uses the pidfd no more."""
        self._holds -= 1
        if self._released:
            self._close_if_unused()

    def note_exec(self) -> bool:
        """Look which program it executes; True if that is another one than was known last."""
        told, self.generation = self.generation, self.programs.generation
        return told is not None and self.generation != told

    def note_exit(self) -> bool:
        """Look at the pidfd; True if that moved the target from running to exited."""
        if self.state is not TargetState.RUNNING or not pidfd.has_exited(self.process.pidfd):
            return False
        self.state = TargetState.EXITED
        self.exited_at = time.time()
        self.exit_seen_at = time.monotonic()
        self.exit = pidfd.exit_status(self.process.pidfd)
        self.programs.end()
        return True

    def note_reap(self, is_reaped: Callable[[int], bool]) -> bool:
        """Look at the pidfd; True if that moved the target from exited to reaped."""
        if self.state is not TargetState.EXITED or not is_reaped(self.process.pidfd):
            return False
        self.state = TargetState.REAPED
        self.exit = pidfd.exit_status(self.process.pidfd) or self.exit
        return True

    def close(self) -> None:
        """Close the pidfd as soon as no thread uses it."""
        self._released = True
        self._close_if_unused()

    def _close_if_unused(self) -> None:
        if self._released and not self._holds:
            os.close(self.process.pidfd)
            self.programs.end()
            self._released = False


def target_id(process: Process, identity: Identity) -> str:
    """Name a process for as long as the host is up, and never again after a reboot.

    The inode of a pidfd is unique until then (pidfs, 6.9); before that all pidfds share one, and
    pid and start time have to do.
    """
    inode = os.fstat(process.pidfd).st_ino
    facts = f"{_boot_id()} {inode} {identity.start_ticks}".encode()
    digest = _boot_mark() + hashlib.blake2b(facts, digest_size=_DIGEST_BYTES).digest()
    return f"{process.pid}-{int.from_bytes(digest, 'big')}"


def pid_in(wanted: str) -> int:
    """The process's number in an id, which it had when the id was given.

    Raises InvalidRequest for what is no id, NoSuchTarget for one of another boot, or host.
    """
    found = _ID.fullmatch(wanted)
    if found is None or int(found[2]) >= 1 << 8 * (_MARK_BYTES + _DIGEST_BYTES):
        raise InvalidRequest(
            "an id is a text like 4242-8812345, as `id` of a target has it: copy it from there",
            ("id",),
        )
    if int(found[2]) >> 8 * _DIGEST_BYTES != int.from_bytes(_boot_mark(), "big"):
        raise NoSuchTarget(
            wanted,
            "the id is of another host, or from before the last boot of this one: its process is "
            "not to be found here",
        )
    return int(found[1])


@cache
def _boot_mark() -> bytes:
    return hashlib.blake2b(_boot_id().encode(), digest_size=_MARK_BYTES).digest()


@cache
def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text()
    except OSError:
        return ""
