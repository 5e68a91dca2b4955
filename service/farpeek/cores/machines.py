"""The registers of a thread as NT_PRSTATUS has them, of each machine that is known here.

``struct elf_prstatus`` of linux/elfcore.h: 112 bytes, the registers, and whether there are others.
Of a thread that waits in a system call some are known, by its calling convention (syscall(2)).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from farpeek.kernel.tasks import Registers

_HEAD: Final = struct.Struct("=3iH2xQQ4i64x")  # info, cursig, sigpend, sighold, four ids, times
_TAIL: Final = struct.Struct("=i4x")  # pr_fpvalid


@dataclass(frozen=True, slots=True)
class Machine:
    """``names`` are the registers in their order; ``call`` those of a call's number and arguments.

    ``constants`` are what all programs have.
    """

    number: int  # e_machine
    names: tuple[str, ...]
    pc: tuple[str, ...]
    sp: str
    call: tuple[str, ...]
    constants: Mapping[str, int]

    def known(self, registers: Registers | None) -> dict[str, int]:
        """The registers that are known, by their names."""
        if registers is None:
            return {}
        found = {self.pc[0]: registers.pc, self.sp: registers.sp, **self.constants}
        if registers.syscall is not None and registers.arguments is not None:
            # x86-64: the instruction itself leaves where it goes on in rcx.
            found |= dict.fromkeys(self.pc, registers.pc)
            found |= zip(self.call, (registers.syscall, *registers.arguments), strict=True)
        return found

    def prstatus(self, tid: int, ppid: int, pid: int, known: Mapping[str, int]) -> bytes:
        """The descriptor of NT_PRSTATUS; what is not known is 0."""
        words = [known.get(name, 0) & (1 << 64) - 1 for name in self.names]
        head = _HEAD.pack(0, 0, 0, 0, 0, 0, tid, ppid, pid, pid)
        return head + struct.pack(f"={len(words)}Q", *words) + _TAIL.pack(0)


_X86_64: Final = Machine(
    62,
    (
        *("r15", "r14", "r13", "r12", "rbp", "rbx", "r11", "r10", "r9", "r8", "rax", "rcx", "rdx"),
        *("rsi", "rdi", "orig_rax", "rip", "cs", "eflags", "rsp", "ss", "fs_base", "gs_base"),
        *("ds", "es", "fs", "gs"),
    ),
    ("rip", "rcx"),
    "rsp",
    ("orig_rax", "rdi", "rsi", "rdx", "r10", "r8", "r9"),
    {"cs": 0x33, "ss": 0x2B},
)
_AARCH64: Final = Machine(
    183,
    (*(f"x{number}" for number in range(31)), "sp", "pc", "pstate"),
    ("pc",),
    "sp",
    ("x8", "x0", "x1", "x2", "x3", "x4", "x5"),
    {},
)
MACHINES: Final[Mapping[str, Machine]] = {"x86_64": _X86_64, "aarch64": _AARCH64}
"""By the names of uname(2)."""
