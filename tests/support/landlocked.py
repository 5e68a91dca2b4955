"""Runs a command in a Landlock domain that takes nothing from it but the making of block devices.

landlocked.py COMMAND [ARGUMENT ...]; landlock(7). What is outside of a domain cannot be traced by
what is inside, whatever else the domain restricts.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys

_CREATE_RULESET = 444  # this and the next: the same on every architecture
_RESTRICT_SELF = 446
_VERSION = 1
_ACCESS_FS_MAKE_BLOCK = 1 << 11
_PR_SET_NO_NEW_PRIVS = 38

_libc = ctypes.CDLL(None, use_errno=True)


def is_there() -> bool:
    """Whether this kernel has Landlock."""
    return bool(_libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _VERSION) > 0)


def restrict() -> None:
    """Put this thread, and its children, into a domain."""
    handled = struct.pack("=Q", _ACCESS_FS_MAKE_BLOCK)
    ruleset = _libc.syscall(_CREATE_RULESET, handled, ctypes.c_size_t(len(handled)), 0)
    assert ruleset >= 0, os.strerror(ctypes.get_errno())
    assert _libc.prctl(_PR_SET_NO_NEW_PRIVS, *(ctypes.c_ulong(n) for n in (1, 0, 0, 0))) == 0
    assert _libc.syscall(_RESTRICT_SELF, ruleset, 0) == 0, os.strerror(ctypes.get_errno())
    os.close(ruleset)


if __name__ == "__main__":
    restrict()
    os.execvp(sys.argv[1], sys.argv[1:])  # noqa: S606 - what the test names
