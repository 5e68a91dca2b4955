"""What debuggers ask, and the answers: the protocol of GDB's manual, appendix E, as a table.

The target goes on all the while. To a debugger it is stopped at all times, at the latest look;
to continue, or to step, is to look again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from farpeek_api.client import PeekError, TargetExited
from farpeek_api.gateway import packets, stops
from farpeek_api.gateway.documents import FEATURES, Documents, state
from farpeek_api.gateway.files import Files
from farpeek_api.gateway.inferior import Unsuitable
from farpeek_api.gateway.lldb import Lldb

if TYPE_CHECKING:
    from collections.abc import Callable

    from farpeek_api.client.results import Registers
    from farpeek_api.gateway.inferior import Inferior

_FAILED: Final = b"E0e"  # EFAULT, as gdbserver has it
_REFUSED: Final = b"E01"
_IDS_AT_ONCE: Final = 2048

GOES_ON: Final = (
    "farpeek: the target is not stopped, and goes on: this is another look at it. No breakpoint is "
    "hit, and nothing is stepped over.\n"
)
ANOTHER: Final = (
    "farpeek: the target executes another program now: leave the debugger, and start it again.\n"
)
NOBODY_KNOWS: Final = "farpeek: the target has exited; nobody knows how.\n"


class Queries:
    """One debugger's questions. `answer` gives the payloads to send, none where none is due."""

    def __init__(self, inferior: Inferior) -> None:
        self._inferior = inferior
        self._dialect = stops.Dialect(inferior.pid)
        self._documents = Documents(inferior, self._dialect.thread)
        self._files = Files(inferior)
        self._chosen = 0
        self._listed = 0
        self._has_told = False
        self._has_tried = False
        self._uploads_marked = False
        self.acknowledges = True
        """Whether packets are acknowledged, both ways."""

        self.is_over = False
        """Whether the debugger has left."""

        # Longer beginnings come before shorter ones.
        self._table: dict[bytes, Callable[[bytes], bytes | list[bytes] | None]] = {
            **Lldb(inferior, self._dialect).table,
            b"qSupported": self._supported,
            b"QStartNoAckMode": self._stop_acknowledging,
            b"qXfer:": self._documents.answer,
            b"vFile:": self._files.answer,
            b"qSearch:memory:": self._search,
            b"qfThreadInfo": self._first_threads,
            b"qsThreadInfo": self._more_threads,
            b"qThreadExtraInfo,": self._thread_extra,
            b"qAttached": lambda _: b"1",
            b"qC": lambda rest: b"" if rest else b"QC" + self._dialect.thread(self._thread()),
            b"vKill": lambda _: b"E.farpeek never ends a process",
            b"?": lambda _: self._look(),
            b"H": self._choose,
            b"T": self._is_alive,
            b"g": self._registers,
            b"p": self._register,
            b"m": self._read,
            b"x": self._read_binary,
            b"M": self._write,
            b"X": self._write_binary,
            b"Z": self._breakpoint,
            b"z": lambda _: b"OK",
            b"c": self._go_on,
            b"C": self._go_on,
            b"s": self._go_on,
            b"S": self._go_on,
            b"D": self._detach,
            b"k": self._leave,
            b"G": lambda _: _REFUSED,
            b"P": lambda _: _REFUSED,
        }

    def answer(self, payload: bytes) -> list[bytes]:
        """Answer a packet; with an empty payload one that is not known."""
        name = next((each for each in self._table if payload.startswith(each)), None)
        if name is None:
            return [b""]
        try:
            found = self._table[name](payload[len(name) :])
        except TargetExited:
            found = b"E03"
        except (PeekError, ValueError, Unsuitable):
            found = _FAILED
        if found is None:
            return []
        return found if isinstance(found, list) else [found]

    # What is supported, and who is meant.

    def _supported(self, rest: bytes) -> bytes:
        said = rest.removeprefix(b":").split(b";")
        self._dialect.multiprocess = b"multiprocess+" in said
        self._uploads_marked = b"binary-upload+" in said
        own = [f"PacketSize={packets.MOST:x}", "QStartNoAckMode+", "MultiMemRead+", *FEATURES]
        if self._dialect.multiprocess:
            own.append("multiprocess+")
        if self._uploads_marked:
            own.append("binary-upload+")
        return ";".join(own).encode()

    def _stop_acknowledging(self, rest: bytes) -> bytes:
        del rest
        self.acknowledges = False
        return b"OK"

    def _thread(self) -> int:
        if self._inferior.thread(self._chosen) is None:
            self._chosen = self._inferior.leader()
        return self._chosen

    def _choose(self, rest: bytes) -> bytes:
        tid = self._dialect.parse(rest[1:])
        if rest[:1] != b"g" or tid in (0, -1):
            return b"OK"
        if tid is None or self._inferior.thread(tid) is None:
            return _REFUSED
        self._chosen = tid
        return b"OK"

    def _is_alive(self, rest: bytes) -> bytes:
        tid = self._dialect.parse(rest)
        return _REFUSED if tid is None or self._inferior.thread(tid) is None else b"OK"

    def _first_threads(self, rest: bytes) -> bytes:
        self._listed = 0
        return self._more_threads(rest)

    def _more_threads(self, rest: bytes) -> bytes:
        del rest
        few = self._inferior.threads[self._listed : self._listed + _IDS_AT_ONCE]
        self._listed += len(few)
        if not few:
            return b"l"
        return b"m" + b",".join(self._dialect.thread(each.tid) for each in few)

    def _thread_extra(self, rest: bytes) -> bytes:
        thread = self._inferior.thread(self._dialect.parse(rest) or 0)
        if thread is None:
            return _REFUSED
        told = f"{thread.comm}, {state(thread)}"
        return told.encode("utf-8", "backslashreplace").hex().encode()

    # Looking again.

    def _look(self) -> list[bytes]:
        info = self._inferior.look()
        if info.state == "running":
            self._chosen = 0
            told = [_output(ANOTHER)] if self._inferior.is_another_program(info) else []
            return [*told, stops.stopped(self._inferior, self._dialect, self._thread())]
        exit_ = self._inferior.ending(info)
        told = [_output(NOBODY_KNOWS)] if exit_ is None else []
        return [*told, stops.ended(self._dialect, exit_)]

    def _go_on(self, rest: bytes) -> list[bytes]:
        del rest
        seen = self._chosen
        answers = self._look()
        if answers[-1].startswith(b"T"):
            if self._inferior.thread(seen) is not None:
                self._chosen = seen  # whoever looks at a thread looks at it again
            answers[-1] = stops.seen_again(self._inferior, self._dialect, self._thread())
        told = [] if self._has_told else [_output(GOES_ON)]
        self._has_told = True
        return [*told, *answers]

    def _detach(self, rest: bytes) -> bytes:
        del rest
        self.is_over = True
        return b"OK"

    def _leave(self, rest: bytes) -> None:
        """End the connection, and nothing else: lldb sends this whenever it ends."""
        del rest
        self.is_over = True

    def _breakpoint(self, rest: bytes) -> bytes:
        """Take those of a debugger's own in the dynamic linker, without which it would not go on.

        Nothing is inserted. Those that a person wants would never be hit, and are refused.
        """
        _, address, *_ = rest.split(b",")
        is_own = self._inferior.is_of_the_linker(packets.number(address))
        return b"OK" if is_own else b"E.farpeek inserts no breakpoints: the target is not stopped"

    # Registers.

    def _known(self, rest: bytes) -> Registers | None:
        """What is known of the thread that a suffix names, or of the chosen one."""
        _, suffix, tid = rest.partition(b"thread:")
        chosen = packets.number(tid.rstrip(b";")) if suffix else self._thread()
        thread = self._inferior.thread(chosen)
        return None if thread is None else thread.registers

    def _registers(self, rest: bytes) -> bytes:
        return self._inferior.architecture.pack(self._known(rest))

    def _register(self, rest: bytes) -> bytes:
        wanted = packets.number(rest.partition(b";")[0])
        architecture = self._inferior.architecture
        if wanted >= len(architecture.registers):
            return _REFUSED
        value = architecture.values(self._known(rest))[wanted]
        if value is not None:
            return value
        # lldb asks once whether there is such a request; later it takes any text for a value.
        is_unknown, self._has_tried = self._dialect.is_lldb and self._has_tried, True
        return b"E15" if is_unknown else architecture.registers[wanted].unknown

    # Memory.

    def _read(self, rest: bytes) -> bytes:
        address, length = packets.numbers(rest)
        return self._inferior.read(address, min(length, packets.SAFE)).hex().encode()

    def _read_binary(self, rest: bytes) -> bytes:
        address, length = packets.numbers(rest)
        mark = b"b" if self._uploads_marked else b""
        if not length:
            return mark or b"OK"  # lldb asks so whether there is such a request
        return mark + packets.escape(self._inferior.read(address, min(length, packets.SAFE)))

    def _write(self, rest: bytes) -> bytes:
        place, _, data = rest.partition(b":")
        return self._written(place, bytes.fromhex(data.decode("ascii")))

    def _write_binary(self, rest: bytes) -> bytes:
        place, _, data = rest.partition(b":")
        return self._written(place, packets.unescape(data))

    def _written(self, place: bytes, data: bytes) -> bytes:
        address, length = packets.numbers(place)
        if not self._inferior.writable or length != len(data):
            return _REFUSED
        return b"OK" if not data or self._inferior.write(address, data) else _FAILED

    def _search(self, rest: bytes) -> bytes:
        address, length, pattern = rest.split(b";", 2)
        found, is_whole = self._inferior.find(
            packets.number(address), packets.number(length), packets.unescape(pattern)
        )
        if found is not None:
            return b"1,%x" % found
        return b"0" if is_whole else _FAILED


def _output(text: str) -> bytes:
    return b"O" + text.encode().hex().encode()
