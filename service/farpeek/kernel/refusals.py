"""Who it was that refused a system call: a seccomp filter, or a kernel that does not have it."""

from __future__ import annotations

import errno
import os
import re
from typing import Final

from farpeek.kernel import status

Release = tuple[int, int]

_NUMBERS: Final = re.compile(r"(\d+)\.(\d+)")


def is_filtered() -> bool:
    """Whether a seccomp filter is installed; proc_pid_status(5), ``Seccomp``."""
    try:
        return status.field("/proc/self", b"Seccomp") == b"2"
    except OSError:
        return False


def why(code: int, since: Release, option: str = "") -> str:
    """Say what an errno means for a call that Linux has ``since``, perhaps by a kernel ``option``.

    ENOSYS may be either's answer. The release decides no more than what is said here.
    """
    name = errno.errorcode.get(code, str(code))
    if code == errno.ENOSYS and _release() < since:
        return f"ENOSYS: Linux {os.uname().release} does not have it (since {_shown(since)})"
    if is_filtered():
        return f"{name}: a seccomp filter refuses it"
    if code == errno.ENOSYS:
        return f"ENOSYS: this kernel was built without {option or 'it'}"
    return f"{name}: refused without a seccomp filter, by a security module or a sandbox"


def by_filter(code: int, since: Release) -> bool:
    """Whether a seccomp filter is to blame, as `why` says it."""
    return is_filtered() and not (code == errno.ENOSYS and _release() < since)


def _release() -> Release:
    found = _NUMBERS.match(os.uname().release)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _shown(release: Release) -> str:
    return ".".join(map(str, release))
