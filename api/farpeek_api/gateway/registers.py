"""Registers: how debuggers want them described and laid out, and which are known without stopping.

The features, their registers and their order are those of GDB's manual, appendix G.5. Without
org.gnu.gdb.i386.linux gdb takes the target for one without an operating system, and asks neither
for the auxiliary vector nor for libraries.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from farpeek_api.client.results import Registers

EM_X86_64: Final = 62
EM_AARCH64: Final = 183
_VECTORS: Final = (
    '<vector id="v4f" type="ieee_single" count="4"/><vector id="v2d" type="ieee_double" count="2"/>'
    '<vector id="v16i8" type="int8" count="16"/><vector id="v8i16" type="int16" count="8"/>'
    '<vector id="v4i32" type="int32" count="4"/><vector id="v2i64" type="int64" count="2"/>'
    '<union id="vec128"><field name="v4_float" type="v4f"/><field name="v2_double" type="v2d"/>'
    '<field name="v16_int8" type="v16i8"/><field name="v8_int16" type="v8i16"/>'
    '<field name="v4_int32" type="v4i32"/><field name="v2_int64" type="v2i64"/>'
    '<field name="uint128" type="uint128"/></union>'
)


@dataclass(frozen=True, slots=True)
class Register:
    """A register of ``bits``, of a type that target descriptions know."""

    name: str
    bits: int = 64
    type: str = "int64"

    @property
    def unknown(self) -> bytes:
        """What stands for its value where nobody knows it."""
        return b"x" * (self.bits // 4)


@dataclass(frozen=True, slots=True)
class Feature:
    """A part of a target description: registers that belong together; ``types`` come first."""

    name: str
    registers: Sequence[Register]
    types: str = ""

    def xml(self) -> str:
        """Describe it."""
        shown = "".join(
            f'<reg name="{each.name}" bitsize="{each.bits}" type="{each.type}"/>'
            for each in self.registers
        )
        return f'<feature name="{self.name}">{self.types}{shown}</feature>'


@dataclass(frozen=True, slots=True)
class Architecture:
    """A kind of processor: ``name`` is gdb's, ``triple`` is LLVM's.

    ``arguments`` are the registers of a system call's arguments, in their order; ``call`` has the
    call's number. ``copies_pc`` has the program counter, too, while a call is on its way.
    """

    name: str
    triple: str
    features: Sequence[Feature]
    pc: str
    sp: str
    call: str
    arguments: Sequence[str]
    copies_pc: Sequence[str] = ()

    @property
    def registers(self) -> list[Register]:
        """All of them, by their numbers."""
        return [each for feature in self.features for each in feature.registers]

    def target_xml(self) -> bytes:
        """Describe it to a debugger."""
        features = "".join(each.xml() for each in self.features)
        return (
            '<?xml version="1.0"?><!DOCTYPE target SYSTEM "gdb-target.dtd">'
            f'<target version="1.0"><architecture>{self.name}</architecture>'
            f"<osabi>GNU/Linux</osabi>{features}</target>"
        ).encode()

    def values(self, known: Registers | None) -> list[bytes | None]:
        """Give each register's value in hex, in the target's byte order; None for what is unknown.

        A thread that waits in a system call has left its arguments where they were; all that its
        caller expects to be kept (rbp, rbx, ...) lies where the kernel shows it to tracers only.
        """
        # gdb lets go of a target, or of a list, at the first thread without a program counter. One
        # that runs has 0, where no program ever is.
        found = {self.pc: 0} if known is None else self._known(known)
        return [
            None if each.name not in found else _hex(found[each.name], each.bits)
            for each in self.registers
        ]

    def _known(self, known: Registers) -> Mapping[str, int]:
        found = {self.pc: known.pc, self.sp: known.sp}
        if known.syscall is not None and known.arguments is not None:
            found |= dict(zip(self.arguments, known.arguments, strict=False))
            found |= {self.call: known.syscall}
            found |= dict.fromkeys(self.copies_pc, known.pc)
        return found

    def pack(self, known: Registers | None) -> bytes:
        """Give all registers as one text, as in the answer to ``g``."""
        values = zip(self.values(known), self.registers, strict=True)
        return b"".join(each.unknown if value is None else value for value, each in values)

    def number_of(self, name: str) -> int:
        """Give the number of a register."""
        return [each.name for each in self.registers].index(name)


def _hex(value: int, bits: int) -> bytes:
    return (value & ((1 << bits) - 1)).to_bytes(bits // 8, "little").hex().encode()


_X86_64_GENERAL: Final = ["rax", "rbx", "rcx", "rdx", "rsi", "rdi"]
_X87: Final = ["fctrl", "fstat", "ftag", "fiseg", "fioff", "foseg", "fooff", "fop"]

X86_64: Final = Architecture(
    "i386:x86-64",
    "x86_64-unknown-linux-gnu",
    (
        Feature(
            "org.gnu.gdb.i386.core",
            (
                *map(Register, _X86_64_GENERAL),
                Register("rbp", type="data_ptr"),
                Register("rsp", type="data_ptr"),
                *(Register(f"r{number}") for number in range(8, 16)),
                Register("rip", type="code_ptr"),
                Register("eflags", 32, "int32"),
                *(Register(name, 32, "int32") for name in ["cs", "ss", "ds", "es", "fs", "gs"]),
                *(Register(f"st{number}", 80, "i387_ext") for number in range(8)),
                *(Register(name, 32, "int32") for name in _X87),
            ),
        ),
        Feature(
            "org.gnu.gdb.i386.sse",
            (
                *(Register(f"xmm{number}", 128, "vec128") for number in range(16)),
                Register("mxcsr", 32, "int32"),
            ),
            _VECTORS,
        ),
        Feature("org.gnu.gdb.i386.linux", (Register("orig_rax"),)),
    ),
    pc="rip",
    sp="rsp",
    call="orig_rax",
    arguments=("rdi", "rsi", "rdx", "r10", "r8", "r9"),
    copies_pc=("rcx",),  # `syscall` puts it there
)

AARCH64: Final = Architecture(
    "aarch64",
    "aarch64-unknown-linux-gnu",
    (
        Feature(
            "org.gnu.gdb.aarch64.core",
            (
                *(Register(f"x{number}") for number in range(31)),
                Register("sp", type="data_ptr"),
                Register("pc", type="code_ptr"),
                Register("cpsr", 32, "int32"),
            ),
        ),
    ),
    pc="pc",
    sp="sp",
    call="x8",
    arguments=("x0", "x1", "x2", "x3", "x4", "x5"),
)

OF_MACHINES: Final[Mapping[int, Architecture]] = {EM_X86_64: X86_64, EM_AARCH64: AARCH64}
"""By e_machine of elf(5)."""
