"""Stop replies: what a debugger is told of a thread, and how a target has ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from farpeek_api.gateway import packets

if TYPE_CHECKING:
    from collections.abc import Mapping

    from farpeek_api.client.results import Exit
    from farpeek_api.gateway.inferior import Inferior

_SIGNALS: Final = (
    "0 HUP INT QUIT ILL TRAP ABRT EMT FPE KILL BUS SEGV SYS PIPE ALRM TERM URG STOP TSTP CONT CHLD "
    "TTIN TTOU IO XCPU XFSZ VTALRM PROF WINCH LOST USR1 USR2 PWR"
)
"""The protocol's own numbers, from 0 on: include/gdb/signals.def."""

NUMBERS: Final[Mapping[str, int]] = {f"SIG{name}": n for n, name in enumerate(_SIGNALS.split())}
_UNKNOWN: Final = 143


@dataclass(slots=True)
class Dialect:
    """What a debugger has said of itself, and how it is told of threads therefore."""

    pid: int
    multiprocess: bool = False
    suffixes: bool = False
    lists_threads: bool = False

    @property
    def is_lldb(self) -> bool:
        """Whether it is lldb, or speaks as lldb does."""
        return self.suffixes

    def thread(self, tid: int) -> bytes:
        """Write a thread's id."""
        return b"p%x.%x" % (self.pid, tid) if self.multiprocess else b"%x" % tid

    def parse(self, text: bytes) -> int | None:
        """Read a thread's id: 0 is any, -1 all; None is one of another process. ValueError."""
        if text.startswith(b"p"):
            process, _, text = text[1:].partition(b".")
            if process not in (b"-1", b"0") and packets.number(process) != self.pid:
                return None
            text = text or b"-1"
        return -1 if text == b"-1" else packets.number(text)


def stopped(inferior: Inferior, dialect: Dialect, tid: int) -> bytes:
    """Tell of a thread of the latest look; its signal is none, for nothing has stopped it."""
    parts = [b"thread:" + dialect.thread(tid)]
    thread = inferior.thread(tid)
    registers = None if thread is None else thread.registers
    architecture = inferior.architecture
    if dialect.is_lldb and registers is not None:
        values = enumerate(architecture.values(registers))
        parts += [b"%x:%b" % (number, value) for number, value in values if value is not None]
    if dialect.is_lldb and thread is not None:
        parts.append(b"hexname:" + thread.comm.encode("utf-8", "backslashreplace").hex().encode())
    if dialect.lists_threads:
        parts.append(b"threads:" + b",".join(b"%x" % each.tid for each in inferior.threads))
    return b"T00" + b";".join(parts) + b";"


def seen_again(inferior: Inferior, dialect: Dialect, tid: int) -> bytes:
    """Tell of a thread that was looked at again. Without a reason lldb goes on by itself."""
    told = stopped(inferior, dialect, tid)
    if not dialect.is_lldb:
        return told
    return told + b"reason:trace;"


def ended(dialect: Dialect, exit_: Exit | None) -> bytes:
    """Tell how the target has ended; as if by status 0 where nobody knows it."""
    if exit_ is not None and exit_.signal is not None:
        told = b"X%02x" % NUMBERS.get(exit_.signal, _UNKNOWN)
    else:
        told = b"W%02x" % (0 if exit_ is None or exit_.code is None else exit_.code & 0xFF)
    return told + b";process:%x" % dialect.pid if dialect.multiprocess else told
