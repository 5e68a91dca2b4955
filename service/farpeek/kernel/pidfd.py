"""What a pidfd tells of the life of its process: pidfd_open(2), and linux/pidfd.h."""

from __future__ import annotations

import errno
import os
import select
import signal

from farpeek.identity import ExitStatus
from farpeek.kernel import uapi


def has_exited(pidfd: int, wait_ms: int = 0) -> bool:
    """Whether the process has exited, or does so within ``wait_ms``."""
    poll = select.poll()  # not by `_poll`: each small read comes here
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(wait_ms))


def has_hung_up(pidfd: int) -> bool:
    """Whether the pidfd says that the process is gone altogether; before 6.9 none says so."""
    return bool(_poll(pidfd, 0) & select.POLLHUP)


def is_reaped(pidfd: int) -> bool:
    """Whether the process is gone altogether, and its number free for others, on any kernel.

    One that has exited can be sent signal 0 (or may not be, EPERM) until it is reaped.
    """
    told = _poll(pidfd, 0)
    return bool(told & select.POLLHUP) or (bool(told) and is_nobody(pidfd))


def is_nobody(pidfd: int) -> bool:
    """Whether there is no process any more that signal 0 could be sent to."""
    try:
        signal.pidfd_send_signal(pidfd, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False


def _poll(pidfd: int, wait_ms: int) -> int:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    events = poll.poll(wait_ms)
    return events[0][1] if events else 0


def exit_status(pidfd: int) -> ExitStatus | None:
    """How the process ended; None as long as the kernel does not tell.

    A child is looked at without reaping it (WNOWAIT), as soon as it has exited; of any other
    process the kernel tells after its reap, from 6.15 on. waitid(2) knows pidfds from 5.4 on.
    """
    status = uapi.pidfd_exit_status(pidfd)
    if status is not None:
        return _from_wait_status(status)
    try:
        info = os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return None
    if info is None:
        return None
    if info.si_code == os.CLD_EXITED:
        return ExitStatus(info.si_status, None, core_dumped=False)
    return ExitStatus(None, _name(info.si_status), core_dumped=info.si_code == os.CLD_DUMPED)


def _from_wait_status(status: int) -> ExitStatus:
    if os.WIFEXITED(status):
        return ExitStatus(os.WEXITSTATUS(status), None, core_dumped=False)
    return ExitStatus(None, _name(os.WTERMSIG(status)), core_dumped=os.WCOREDUMP(status))


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # the real-time signals between SIGRTMIN and SIGRTMAX
        return f"SIGRTMIN+{number - signal.SIGRTMIN}"
