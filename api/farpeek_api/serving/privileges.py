"""What the service gives up once its listeners are open: what it does not need, nobody gets by it.

A thread's capabilities are its own, and those that come later have what the one had that made them.
So this happens while there is one.
"""

from __future__ import annotations

import contextlib
import os
import resource
from pathlib import Path
from typing import TYPE_CHECKING, Final

from farpeek.kernel import capabilities, uapi
from farpeek_api.serving.logs import log

if TYPE_CHECKING:
    from collections.abc import Sequence

NEEDED: Final = {
    "SYS_PTRACE": "reads, maps and writes of other users' processes",
    "DAC_READ_SEARCH": "their page tables, and so `nowait`; files of the service's own that "
    "belong to others",
    "CHECKPOINT_RESTORE": "`nowait` of deleted files, by /proc/PID/map_files",
    "SYS_NICE": "`prefetch`",
}
"""Which feature needs which; docs/privileges.md has them as a table."""

STAND_IN: Final = "DAC_OVERRIDE"
"""Opens page tables too, where DAC_READ_SEARCH was not given."""

_MOST_CAPABILITIES: Final = 64


class PrivilegeError(Exception):
    """Something cannot be given up; ``str(error)`` is one line with the cure."""


def give_up(kept: Sequence[str]) -> None:
    """Give up all that is not needed, and not among the names ``kept``; PrivilegeError.

    Children are made as before, but gain nothing by what they execute.
    """
    _drop_capabilities(kept)
    _check("PR_SET_NO_NEW_PRIVS", uapi.prctl(uapi.PR_SET_NO_NEW_PRIVS, 1))
    _forbid_core_dumps()
    _hide()


def _drop_capabilities(kept: Sequence[str]) -> None:
    effective, permitted = uapi.held_capabilities()
    wanted = capabilities.mask([*NEEDED, *kept])
    if not permitted & capabilities.mask(["SYS_PTRACE"]):
        # The kernel compares sets then: a target may have none that the service lacks.
        wanted |= permitted
    if not permitted & capabilities.mask(["DAC_READ_SEARCH"]):
        wanted |= capabilities.mask([STAND_IN])
    _drop_from_bounding_set(wanted)
    _clear_ambient()
    _check("capset", uapi.set_capabilities(effective & wanted, permitted & wanted))
    if permitted & ~wanted:
        dropped, left = map(capabilities.named, (permitted & ~wanted, permitted & wanted))
        log.debug("gives up %s; keeps %s", ", ".join(dropped), ", ".join(left) or "none")


def _drop_from_bounding_set(wanted: int) -> None:
    """Let no child have them, if this may be said: it takes SETPCAP.

    Without that no_new_privs keeps them away just as well.
    """
    for bit in range(_MOST_CAPABILITIES):
        if not wanted >> bit & 1:
            uapi.prctl(uapi.PR_CAPBSET_DROP, bit)


def _clear_ambient() -> None:
    done = uapi.prctl(uapi.PR_CAP_AMBIENT, uapi.PR_CAP_AMBIENT_CLEAR_ALL)
    _check("PR_CAP_AMBIENT", done)


def _check(what: str, done: int) -> None:
    if done < 0:
        raise PrivilegeError(
            f"cannot give up privileges ({what}: {os.strerror(-done)}): let the seccomp filter "
            "allow prctl and capset"
        )


def _forbid_core_dumps() -> None:
    """The service holds other processes' memory; core(5).

    The limit does not hold for programs that kernel.core_pattern pipes to. They get no memory then.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError):
        Path("/proc/self/coredump_filter").write_text("0")


def _hide() -> None:
    """Be no longer dumpable, so that who has the same user cannot look into the service.

    But for where it could not watch its own threads then: who hangs, and when a pin may end
    (docs/writes.md). The files in /proc of a process that is not dumpable are root's.
    """
    if uapi.prctl(uapi.PR_GET_DUMPABLE) != 1:  # by file capabilities, say
        return
    uapi.prctl(uapi.PR_SET_DUMPABLE, 0)
    if not _sees_own_threads():
        uapi.prctl(uapi.PR_SET_DUMPABLE, 1)


def _sees_own_threads() -> bool:
    try:
        Path("/proc/thread-self/syscall").read_bytes()
    except OSError:
        return False
    return True
