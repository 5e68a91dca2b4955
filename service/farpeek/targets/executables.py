"""The name of the file that a process executes, and whether that name is gone.

The kernel writes " (deleted)" behind the name of a file that has none any more, and behind that of
a memfd; but a file can be called so. Whether there is one of that name is asked of the names that
the kernel has cached alone, so no filesystem is waited for: a file that is executed has its own
there. Where that cannot be asked (before 5.12, on FUSE or NFS), the name counts as deleted.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Final

from farpeek.errors import refuse_if_out_of_files
from farpeek.kernel import names, uapi

_DELETED: Final = b" (deleted)"


def of(proc: str) -> tuple[str | None, bool]:
    """Give the name as it is shown, and whether it was deleted; None where it may not be seen."""
    try:
        name = os.readlink(os.fsencode(f"{proc}/exe"))  # noqa: PTH115 - a name, no path to walk
    except OSError:
        return None, False
    if not name.endswith(_DELETED) or _is_there(proc, name):
        return names.shown(name), False
    return names.shown(name.removesuffix(_DELETED)), True


def _is_there(proc: str, name: bytes) -> bool:
    """Whether the executable has that very name, as the process or this service sees names."""
    try:
        executed = _identity(os.open(f"{proc}/exe", os.O_PATH | os.O_CLOEXEC))
    except OSError as error:
        refuse_if_out_of_files(error)
        return False
    return any(_find(root, name) == executed for root in (f"{proc}/root", "/"))


def _find(root: str, name: bytes) -> tuple[tuple[int, int], int] | None:
    with suppress(OSError):
        folder = os.open(root, os.O_PATH | os.O_CLOEXEC)
        try:
            return _identity(uapi.open_cached(folder, name.lstrip(b"/")))
        finally:
            os.close(folder)
    return None


def _identity(descriptor: int) -> tuple[tuple[int, int], int]:
    try:
        status = uapi.status_without_asking(descriptor)
    finally:
        os.close(descriptor)
    return status.device, status.inode
