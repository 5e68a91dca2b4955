"""Everything that can go wrong, as one tree.

    FarpeekError
    ├── InvalidRequest       the request makes no sense, whoever asks
    ├── RangeUnreadable      a range ends, or cannot begin, where a byte cannot be read
    ├── TooLarge             it asks for more than one request may carry
    ├── NoSuchTarget         no target has that id
    ├── NoSuchMatch          the client has no standing match of that id
    ├── NoSuchProcess        no process has that number, or fits that match
    ├── AmbiguousMatch       several processes fit the match
    ├── AmbiguousNumber      it means one process to the caller, and another one here
    ├── TargetExited         the target's memory is gone
    ├── ProcessGone          the process of an id is gone, and was no target
    ├── ExpectationFailed    other bytes are there than the write expects
    ├── AlreadyTraced        the target belongs to a debugger, and is not written to meanwhile
    ├── AccessDenied         the kernel refuses, and we know which gate it was
    ├── Unsupported          this kernel, or these privileges, cannot do it
    ├── KernelFailure        a system call failed in a way that nobody foresaw
    └── Unavailable          it could work, but not now
        ├── TooBusy          a budget is used up
        ├── TargetStuck      all threads that this target may have hang in the kernel
        ├── DeadlineExceeded the request's time is over
        └── ShuttingDown     the service is stopping

A short read is none of these: it is a result (see ``model.ReadResult``).
"""

from __future__ import annotations

import errno as errno_module
from typing import TYPE_CHECKING

from farpeek.model import Stage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from farpeek.identity import ListedProcess, TargetSnapshot
    from farpeek.model import Difference, Gap, Gate


class FarpeekError(Exception):
    """Root of the tree. ``str(error)`` is one sentence for the person who asked."""

    retryable = False

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class InvalidRequest(FarpeekError):
    """The request makes no sense. ``place`` names the member at fault, if one is."""

    def __init__(self, detail: str, place: Sequence[str | int] = ()) -> None:
        super().__init__(detail)
        self.place = tuple(place)


class RangeUnreadable(FarpeekError):
    """A long read has come to ``gap``: at its first byte, or further on where that was not seen."""

    def __init__(self, gap: Gap) -> None:
        super().__init__(
            f"{gap.length} bytes from {gap.address:#x} on cannot be read: {gap.reason}"
        )
        self.gap = gap
        self.retryable = gap.reason.retryable


class TooLarge(FarpeekError):
    """More regions or bytes than one request may carry."""


class NoSuchTarget(FarpeekError):
    """No target has that id: never registered, released, or forgotten after its exit."""

    def __init__(self, target_id: str, detail: str | None = None) -> None:
        super().__init__(
            detail
            or f"there is no target {target_id!r}; it may have been released, or exited long ago"
        )


class NoFile(FarpeekError):
    """There is no file behind an address."""


class FileRemote(FarpeekError):
    """A file that is not opened: it is no regular one, or its filesystem could hang."""


class NoSuchMatch(FarpeekError):
    """The client has no standing match of that id."""

    def __init__(self, match_id: str) -> None:
        super().__init__(
            f"you have no standing match {match_id!r}: it was deleted, or was another client's, or "
            "is from before the service's start"
        )


class NoSuchProcess(FarpeekError):
    """No process has that number, or fits that match."""


class AmbiguousMatch(FarpeekError):
    """Several processes fit a match that must name one."""

    def __init__(self, candidates: Sequence[ListedProcess]) -> None:
        super().__init__(
            f"{len(candidates)} processes fit; say more in `match`, or register by `pid`"
        )
        self.candidates = tuple(candidates)


class AmbiguousNumber(InvalidRequest):
    """The caller's pid namespace is another one, so a bare number has two readings.

    Each is None where that is no process, or cannot be told.
    """

    def __init__(
        self, pid: int, caller: ListedProcess | None, service: ListedProcess | None
    ) -> None:
        super().__init__(
            f"your pid namespace is not the service's, where {pid} means another process: "
            'say which with `"pid_namespace": "caller"` or `"service"`; `readings` shows them',
            ("pid",),
        )
        self.caller = caller
        self.service = service


class ProcessGone(FarpeekError):
    """The process that had this id is gone; its number may be another one's by now."""

    def __init__(self, target_id: str) -> None:
        super().__init__(f"the process of {target_id!r} has ended; its id means no other one")


class TargetExited(FarpeekError):
    """The target has exited, and its memory is gone."""

    def __init__(self, target: TargetSnapshot) -> None:
        super().__init__(f"process {target.identity.pid} has exited; its memory is gone")
        self.target = target


class TargetChanged(FarpeekError):
    """The target executes another program than the one that was meant."""

    def __init__(self, wanted: int, generation: int) -> None:
        super().__init__(
            f"program number {wanted} is meant, and the target executes number {generation}: look "
            "at the target again, for addresses are others now"
        )
        self.generation = generation


class ExpectationFailed(FarpeekError):
    """Other bytes are there than the write expects; nothing was written."""

    def __init__(self, difference: Difference) -> None:
        super().__init__(
            f"byte {difference.offset} of region {difference.region} is not as expected; "
            "nothing was written"
        )
        self.difference = difference


class AlreadyTraced(FarpeekError):
    """Another process traces the target; ``tracer_pid`` is None if it cannot be seen from here."""

    def __init__(self, tracer_pid: int | None) -> None:
        who = f"process {tracer_pid}" if tracer_pid else "a process that cannot be seen from here"
        super().__init__(f"{who} traces the target; write by that, or let it detach")
        self.tracer_pid = tracer_pid


class AccessDenied(FarpeekError):
    """The kernel refuses access to the target (ptrace(2), "Ptrace access mode checking")."""

    def __init__(self, gate: Gate, detail: str, hint: str, errno: int) -> None:
        super().__init__(detail)
        self.gate = gate
        self.hint = hint
        self.errno = errno


class Unsupported(FarpeekError):
    """What was asked for cannot be done with this kernel, or these privileges."""


class KernelFailure(FarpeekError):
    """A system call failed in a way that is neither a gap, an exit nor a refusal."""

    def __init__(self, call: str, errno: int) -> None:
        name = errno_module.errorcode.get(errno, str(errno))
        super().__init__(f"{call} failed with {name}")
        self.errno = errno


class Unavailable(FarpeekError):
    """It could work, but not now."""

    retryable = True


class TooBusy(Unavailable):
    """A budget is used up; try again after ``retry_after_s`` seconds."""

    def __init__(self, detail: str, retry_after_s: int = 1) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class TargetStuck(Unavailable):
    """All threads that may work for this target in this mode hang past their deadline."""


class DeadlineExceeded(Unavailable):
    """The request's time is over; a thread may still hang in the kernel for it.

    ``stage`` is what it was at, and ``since`` since when, in seconds since the epoch, where that
    is known.
    """

    def __init__(
        self, detail: str, stage: Stage = Stage.PAGE_FAULT, since: float | None = None
    ) -> None:
        super().__init__(detail)
        self.stage = stage
        self.since = since


class ShuttingDown(Unavailable):
    """The service is stopping and takes no new requests."""

    def __init__(self) -> None:
        super().__init__("the service is shutting down")


def out_of_files() -> TooBusy:
    """Say that no more files can be open (EMFILE, ENFILE)."""
    return TooBusy(
        "the service has as many files open as it may: try again, or raise its descriptor limit "
        "(ulimit -n, LimitNOFILE=)"
    )


def is_out_of_files(error: BaseException) -> bool:
    """Whether that is all that ``error`` says; of a file, or a process, it says nothing."""
    numbers = (errno_module.EMFILE, errno_module.ENFILE)
    return isinstance(error, OSError) and error.errno in numbers


def refuse_if_out_of_files(error: OSError) -> None:
    """Raise TooBusy if ``error`` is of that kind."""
    if is_out_of_files(error):
        raise out_of_files() from error
