"""What all ways of access have in common, seen from outside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from farpeek.access.joint import JointRead, Prepared
    from farpeek.access.witness import Witness
    from farpeek.identity import Process
    from farpeek.model import Backend, Mode, ReadResult, ReadSpec


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

    def prepare(self, process: Process, spec: ReadSpec, witness: Witness) -> Prepared | None:
        """Make such a read ready to be done, once or often, with others; None where it is not one.

        What is prepared belongs to one thread at a time.
        """
        ...

    def jointly(self, reads: Sequence[Prepared | None], mode: Mode) -> JointRead:
        """Give the work of doing ``reads``, which are of one mode, once; nothing, for None."""
        ...
