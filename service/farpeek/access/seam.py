"""What all ways of access have in common, seen from outside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from farpeek.identity import Process
    from farpeek.model import Backend, ReadResult, ReadSpec


class ProcessGone(Exception):
    """The process has exited, as its pidfd says; nothing that was read may be believed."""


class Witness(Protocol):
    """One program, and what shows that it is still executed."""

    @property
    def pagemap(self) -> int | None:
        """A descriptor on its page table, which gives nothing once its memory is gone."""
        ...

    @property
    def random(self) -> tuple[int, bytes] | None:
        """Where bytes are that no other program has, and what they are; None: not known."""
        ...


class Access(Protocol):
    """One way to read the memory of a process."""

    backend: Backend

    def read(self, process: Process, spec: ReadSpec, deadline: float) -> ReadResult:
        """Read the regions of ``spec``; blocks for as long as the kernel does.

        ``deadline`` is a time of ``time.monotonic``; it is looked at between system calls, and
        can end none. Raises ProcessGone, AccessDenied, DeadlineExceeded, Unsupported,
        KernelFailure.
        """
        ...

    def read_quickly(self, process: Process, spec: ReadSpec, witness: Witness) -> ReadResult | None:
        """Do the same for a few bytes of the program that ``witness`` is of, in half the time.

        None where that was not it, or anything else stands against it: `read` tells. Raises
        nothing.
        """
        ...
