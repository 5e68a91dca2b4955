"""Runs `farpeek` as another user: as_user.py UID GID [FLAG ...] -- serve ...

Flags: --no-process-vm (a seccomp filter is in the way), --not-dumpable (as a program with file
capabilities is), --hide-others (its /proc shows nothing of other users' processes but their
numbers).

The interpreter may lie in a folder that this user cannot enter, so everything is imported before
the privileges go. Nothing can be exec'ed afterwards.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import pkgutil
import signal
import sys

from refuse import prctl, refuse

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_CLONE_NEWNS = 0x20000
_MS_REC_PRIVATE = 0x44000

_libc = ctypes.CDLL(None, use_errno=True)


def _hide_others() -> None:
    """Mount a /proc with hidepid=1, proc(5), for this process alone."""
    steps = (
        _libc.unshare(_CLONE_NEWNS),
        _libc.mount(b"none", b"/", None, _MS_REC_PRIVATE, None),
        _libc.mount(b"proc", b"/proc", b"proc", 0, b"hidepid=1"),
    )
    assert steps == (0, 0, 0), os.strerror(ctypes.get_errno())


def _import_all(*packages: str) -> None:
    """Import every module of ``packages``: what is imported lazily could not be, later."""
    for package in packages:
        module = importlib.import_module(package)
        for found in pkgutil.walk_packages(module.__path__, f"{package}."):
            if "__main__" in found.name and package != "farpeek_api":
                continue
            try:
                importlib.import_module(found.name)
            except Exception:  # a plugin for what is not installed
                if package.startswith("farpeek"):
                    raise


def _main() -> int:
    split = sys.argv.index("--")
    uid, gid, *flags = sys.argv[1:split]
    arguments = sys.argv[split + 1 :]
    _import_all("farpeek", "farpeek_api", "aiohttp", "asyncio", "encodings", "concurrent", "email")
    for module in ("uvloop", "aiohttp.web", "pydantic", "pydantic_settings", "pydantic.deprecated"):
        importlib.import_module(module)
    entry = importlib.import_module("farpeek_api.__main__").main
    if "--no-process-vm" in flags:
        refuse("process_vm_readv")
    if "--hide-others" in flags:
        _hide_others()
    os.setgroups([])
    os.setresgid(int(gid), int(gid), int(gid))
    os.setresuid(int(uid), int(uid), int(uid))
    # Taken back with the credentials; a service that nobody may look at is not the usual one.
    prctl(_PR_SET_DUMPABLE, ctypes.c_ulong("--not-dumpable" not in flags))
    prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL))
    return int(entry(arguments) or 0)


if __name__ == "__main__":
    sys.exit(_main())
