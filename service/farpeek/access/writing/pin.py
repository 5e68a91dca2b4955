"""Writing by number, to a process whose number is held still meanwhile.

A check afterwards, which does for reads, comes too late for a write (243 writes into wrong
processes in 10,000 rounds of forced reuse). But a traced process is not reaped, and its number
stays its own: so another thread seizes the process (ptrace(2), PTRACE_SEIZE, which does not stop
it), looks at the pidfd, and lets go by ending once the write is done. That is silent; PTRACE_DETACH
would first have to stop the target, and was seen to swallow signals.

A traced process stops at its next signal, until its tracer lets it go on. So the pin ends as soon
as the write sleeps: the call has found its process then, and cannot go astray any more. That holds
for calls that never sleep before they look the process up, and those are made here: their iovecs
are locked in memory, and so few and short that the kernel allocates nothing for them.
"""

from __future__ import annotations

import errno
import mmap
import os
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final
from weakref import WeakValueDictionary

from farpeek.access.process_ref import NoMemory
from farpeek.errors import AlreadyTraced, DeadlineExceeded, KernelFailure, TargetStuck, TooBusy
from farpeek.kernel import gates, status, uapi
from farpeek.model import PAGE_SIZE, Stage

if TYPE_CHECKING:
    from collections.abc import Generator

    from farpeek.access.process_ref import ProcessRef

ELEMENTS: Final = 8
"""Remote iovecs of one call: UIO_FASTIOV of linux/uio.h, beyond which the kernel allocates."""

MOST_BYTES: Final = 15 * PAGE_SIZE
"""Of one element: at most PVM_MAX_PP_ARRAY_COUNT (16) pages wherever it begins; the same reason."""

_LOOK_AGAIN_S: Final = 0.002
_RETRY_S: Final = 0.0002
_TRIES: Final = 300
"""For a tracer that has just let go (3 of 2,000 were refused in that moment), before it is one that
cannot be seen. Not a time: on a busy machine that is over before the second try."""

_NOT_TO_BE_SEEN: Final = (FileNotFoundError, ProcessLookupError, PermissionError)
"""Of a process: it has ended, or /proc is mounted with hidepid=1."""


class PinnedWriter:
    """Transfers by process_vm_writev(2), with the process pinned for each call."""

    def __init__(self, ref: ProcessRef, deadline: float) -> None:
        self._ref = ref
        self._deadline = deadline
        self._iovecs = mmap.mmap(-1, PAGE_SIZE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self._locked = uapi.lock_in_memory(self._iovecs)

    def __call__(self, local: int, remote: int, count: int) -> int:
        """Write; bytes written or a negative errno.

        Raises AlreadyTraced, AccessDenied, ProcessGone, NoMemory, DeadlineExceeded, TooBusy.
        """
        size = 16 * (1 + count)
        self._iovecs[:size] = uapi.bytes_at(local, 16) + uapi.bytes_at(remote, size - 16)
        own_local = uapi.address_of(self._iovecs)
        number, flags = self._ref.number, self._ref.flags
        pin = _Pin(self._ref, self._deadline, may_let_go=self._locked)
        pin.attach()
        try:
            return uapi.process_vm_writev(number, own_local, 1, own_local + 16, count, flags)
        finally:
            pin.detach()


class _Pin(threading.Thread):
    """The thread that traces; its end is what lets go."""

    def __init__(self, ref: ProcessRef, deadline: float, *, may_let_go: bool) -> None:
        super().__init__(name="pin", daemon=True)
        self._ref = ref
        self._deadline = deadline
        self._may_let_go = may_let_go
        self._writer = threading.get_native_id()
        self._decided = threading.Event()
        self._done = threading.Event()
        self._error: BaseException | None = None

    def attach(self) -> None:
        """Return when the number is held, or raise why it cannot be."""
        try:
            self.start()
        except RuntimeError:  # a limit on threads, or on memory
            raise TooBusy("no thread can be started that would hold the target") from None
        if not self._decided.wait(max(0.0, self._deadline - time.monotonic())):
            self._done.set()  # it lets go as soon as it gets there
            raise DeadlineExceeded("the kernel does not let the target be held still", Stage.PIN)
        if self._error is not None:
            self.join()
            raise self._error

    def detach(self) -> None:
        """Let go, and return when nobody can see that the process was traced."""
        self._done.set()
        self.join()
        # The kernel lets go a moment after Python's thread has ended.
        while tracer(self._ref.proc) == self.native_id:
            time.sleep(_RETRY_S)

    def run(self) -> None:
        try:
            with _one_at_a_time(self._ref.number, self._deadline):
                self._seize()
                # From here on the number cannot change hands; this tells whether it already had.
                self._ref.verify()
                self._decided.set()
                self._hold()
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits
            self._error = error
        finally:
            self._decided.set()

    def _seize(self) -> None:
        number = self._ref.number
        if is_frozen_while_stopped(self._ref.proc):
            self._ref.verify()
            raise TargetStuck(
                "the target is stopped, and frozen by its cgroup: it cannot be held still for a "
                "write before it is thawed (reads go on)"
            )
        tries = _TRIES
        while (code := uapi.ptrace_seize(number)) == -errno.EPERM:
            if uapi.probe_memory(number) == -errno.EPERM:
                self._ref.verify()
                raise gates.find(number)
            tries = _TRIES if is_traced_by_us(self._ref.proc) else tries - 1
            if not tries:
                self._ref.verify()
                raise AlreadyTraced(foreign_tracer(self._ref.proc))
            time.sleep(_RETRY_S)
        if code == -errno.ESRCH:
            raise NoMemory
        if code < 0:
            raise KernelFailure("ptrace(PTRACE_SEIZE)", -code)

    def _hold(self) -> None:
        while not self._done.wait(_LOOK_AGAIN_S):
            if self._may_let_go and _sleeps_in_the_call(self._writer):
                return
            self._hand_signals_on()

    def _hand_signals_on(self) -> None:
        """Let the process go on if it has stopped for us, while a write lasts."""
        number = self._ref.number
        try:
            # Stops only: to be told of its end would release it, and with it the number.
            stop = os.waitid(os.P_PID, number, os.WSTOPPED | os.WNOHANG | uapi.WALL)
        except ChildProcessError:
            return
        if stop is None:
            return
        event, signal = divmod(stop.si_status, 1 << 8)
        if event != uapi.PTRACE_EVENT_STOP:
            uapi.ptrace_cont(number, signal)
        else:  # stopped as a whole, by SIGSTOP and its like: it is to stay so
            uapi.ptrace_listen(number)


_guard: Final = threading.Lock()
_locks: Final[WeakValueDictionary[int, threading.Lock]] = WeakValueDictionary()


@contextmanager
def _one_at_a_time(number: int, deadline: float) -> Generator[None]:
    """Let one pin of ours after the other have a process: only one thread can trace it."""
    with _guard:
        lock = _locks.setdefault(number, threading.Lock())
    if not lock.acquire(timeout=max(0.0, deadline - time.monotonic())):
        raise DeadlineExceeded("other writes to this target took all the time", Stage.PIN)
    try:
        yield
    finally:
        lock.release()


def _sleeps_in_the_call(tid: int) -> bool:
    """Whether thread ``tid`` of ours sleeps inside process_vm_writev; False if it cannot be told.

    A service that is not dumpable may not look even at itself. One that is traced (by strace, say)
    may sleep before the call has begun.
    """
    if uapi.WRITEV_NUMBER is None:
        return False
    try:
        with open(f"/proc/self/task/{tid}/syscall", "rb") as file:  # noqa: PTH123 - pathlib is slow
            number = file.read(8).split(b" ")[0]
        return number == b"%d" % uapi.WRITEV_NUMBER and not tracer(f"/proc/self/task/{tid}")
    except OSError:
        return False


def tracer(proc: str) -> int:
    """The thread that traces the process at ``proc``; 0 for none, or one that cannot be seen."""
    try:
        return int(status.field(proc, b"TracerPid") or 0)
    except _NOT_TO_BE_SEEN:
        return 0


def is_frozen_while_stopped(proc: str) -> bool:
    """Whether the process at ``proc`` is in a stop, and its cgroup's freezer (v1) keeps it there.

    PTRACE_SEIZE of such a one waits for the thaw. It sleeps in the function that stops for signals,
    in state D in place of T (6.18; the freezer of v2 leaves it in T, and lets it be seized).
    """
    try:
        with (
            open(f"{proc}/stat", "rb") as stat,  # noqa: PTH123 - pathlib is slow
            open(f"{proc}/wchan", "rb") as wchan,  # noqa: PTH123 - the same
        ):
            state = stat.read().rpartition(b")")[2].split()[0]
            return state == b"D" and wchan.read() in (b"do_signal_stop", b"ptrace_stop")
    except OSError:
        return False


def is_traced_by_us(proc: str) -> bool:
    """Whether a thread of this service traces the process at ``proc``."""
    tid = tracer(proc)
    return bool(tid) and os.path.exists(f"/proc/self/task/{tid}")  # noqa: PTH110 - pathlib is slow


def foreign_tracer(proc: str) -> int | None:
    """The process that traces the one at ``proc``; None for none, or one that cannot be seen."""
    tid = tracer(proc)
    if not tid:
        return None
    # Asked again, for a thread of ours may have ended between the two looks.
    return None if is_traced_by_us(proc) or tracer(proc) != tid else _process_of(tid)


def _process_of(tid: int) -> int:
    try:
        return int(status.field(f"/proc/{tid}", b"Tgid") or tid)
    except _NOT_TO_BE_SEEN:
        return tid
