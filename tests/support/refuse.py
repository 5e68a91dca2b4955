"""Runs a command that the kernel refuses a system call, as container runtimes do.

refuse.py CALL COMMAND [ARGUMENT ...]
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys

_PR_SET_NO_NEW_PRIVS = 38
_PR_SET_SECCOMP = 22
_NUMBERS = {
    "process_vm_readv": {"x86_64": 310, "aarch64": 270},
    "move_pages": {"x86_64": 279, "aarch64": 239},
    "capset": {"x86_64": 126, "aarch64": 91},
}

_libc = ctypes.CDLL(None, use_errno=True)


def prctl(option: int, *arguments: object) -> None:
    """Call prctl(2); OSError if it fails."""
    padded = [*arguments, *([ctypes.c_ulong(0)] * (4 - len(arguments)))]
    if _libc.prctl(ctypes.c_int(option), *padded) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def refuse(call: str) -> None:
    """Install a seccomp filter that answers this system call with EPERM, for our children too."""
    number = _NUMBERS[call][os.uname().machine]
    program = (
        (0x20, 0, 0, 0),  # load the system call's number
        (0x15, 0, 1, number),  # if it is the one,
        (0x06, 0, 0, 0x00050000 | 1),  # SECCOMP_RET_ERRNO | EPERM
        (0x06, 0, 0, 0x7FFF0000),  # else SECCOMP_RET_ALLOW
    )
    packed = b"".join(struct.pack("=HBBI", *instruction) for instruction in program)
    filters = ctypes.create_string_buffer(packed, len(packed))
    head = struct.pack("@HP", len(program), ctypes.addressof(filters))
    prctl(_PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1))
    prctl(_PR_SET_SECCOMP, ctypes.c_ulong(2), ctypes.c_char_p(head))


if __name__ == "__main__":
    refuse(sys.argv[1])
    os.execvp(sys.argv[2], sys.argv[2:])  # noqa: S606 - what the test names
