"""The machine that this very program is for, as its own ELF header says (elf(5)).

uname(2) tells what the kernel is for, or what personality(2) has it say: a program of 32 bits is
told "aarch64", too, and `setarch i686` has one of 64 bits told "i686". System calls have the
numbers of the program.
"""

from __future__ import annotations

import platform
import struct
from typing import Final

POINTER_BITS: Final = 8 * struct.calcsize("P")
_SELF: Final = "/proc/self/exe"
_OF_64_BITS: Final = b"\x7fELF\x02"
_NAMES: Final = {
    21: "ppc64le",
    22: "s390x",
    62: "x86_64",
    183: "aarch64",
    243: "riscv64",
    258: "loongarch64",
}
"""By e_machine (linux/elf-em.h), as uname(2) calls them, of programs of 64 bits."""


def name_in(header: bytes) -> str | None:
    """The machine of a program, by the first 20 bytes of its file; None: 32 bits, or not known."""
    if not header.startswith(_OF_64_BITS):
        return None
    order = "<" if header[5] == 1 else ">"
    (number,) = struct.unpack_from(f"{order}H", header, 18)
    return _NAMES.get(number)


def _own() -> str | None:
    try:
        with open(_SELF, "rb") as file:  # noqa: PTH123 - pathlib is slow to load
            return name_in(file.read(20))
    except OSError:  # no /proc: nothing works then, and that is said elsewhere
        return platform.machine() if POINTER_BITS == 64 else None  # noqa: PLR2004 - bits


NAME: Final = _own()
"""None where no system call's number is known."""
