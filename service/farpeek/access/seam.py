"""What all ways of access have in common, seen from outside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from farpeek.model import Backend, Process, ReadResult, ReadSpec


class ProcessGone(Exception):
    """The process has exited, as its pidfd says; nothing that was read may be believed."""


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
