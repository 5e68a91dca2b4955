"""Mounts of a process of its own, so that several test processes see nothing of each other's."""

from __future__ import annotations

import ctypes
import os

_CLONE_NEWNS = 0x20000
_MS_REC_PRIVATE = 0x44000


def have_own_mounts() -> None:
    """Give this thread, and all that it starts, a mount namespace of its own where that is allowed.

    What is mounted in it is gone with its last process, mount_namespaces(7), so a run that is
    killed leaves no mount behind either.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNS) == 0 and libc.mount(b"none", b"/", None, _MS_REC_PRIVATE, None):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
