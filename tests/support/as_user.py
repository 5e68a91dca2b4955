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
import struct
import sys

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_NO_NEW_PRIVS = 38
_PR_SET_SECCOMP = 22
_CLONE_NEWNS = 0x20000
_MS_REC_PRIVATE = 0x44000
_PROCESS_VM_READV = {"x86_64": 310, "aarch64": 270}

_libc = ctypes.CDLL(None, use_errno=True)


def _prctl(option: int, *arguments: object) -> None:
    padded = [*arguments, *([ctypes.c_ulong(0)] * (4 - len(arguments)))]
    if _libc.prctl(ctypes.c_int(option), *padded) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def _refuse_process_vm() -> None:
    """Install a seccomp filter that answers process_vm_readv with EPERM, as container hosts do."""
    number = _PROCESS_VM_READV[os.uname().machine]
    program = (
        (0x20, 0, 0, 0),  # load the system call's number
        (0x15, 0, 1, number),  # if it is the one,
        (0x06, 0, 0, 0x00050000 | 1),  # SECCOMP_RET_ERRNO | EPERM
        (0x06, 0, 0, 0x7FFF0000),  # else SECCOMP_RET_ALLOW
    )
    packed = b"".join(struct.pack("=HBBI", *instruction) for instruction in program)
    filters = ctypes.create_string_buffer(packed, len(packed))
    head = struct.pack("@HP", len(program), ctypes.addressof(filters))
    _prctl(_PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1))
    _prctl(_PR_SET_SECCOMP, ctypes.c_ulong(2), ctypes.c_char_p(head))


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
        _refuse_process_vm()
    if "--hide-others" in flags:
        _hide_others()
    os.setgroups([])
    os.setresgid(int(gid), int(gid), int(gid))
    os.setresuid(int(uid), int(uid), int(uid))
    # Taken back with the credentials; a service that nobody may look at is not the usual one.
    _prctl(_PR_SET_DUMPABLE, ctypes.c_ulong("--not-dumpable" not in flags))
    _prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL))
    return int(entry(arguments) or 0)


if __name__ == "__main__":
    sys.exit(_main())
