"""gdbserver and lldb-server, by the remote serial protocol (gdb's manual, appendix E).

Both take a connection that is there already. Over TCP is how they are used; a socket pair is a unix
socket, as farpeek's is. Both stop their process for as long as they are attached.
"""

from __future__ import annotations

import re
import socket
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from bench.framework import Skipped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_PATIENCE_S = 30.0
_BUFFER = 4 << 20
_FRAME = 64  # bytes of a packet that are no content, more than enough
_LETTER_OFFSET = 29  # a repeat count n is sent as the letter n + 29
_ESCAPE, _REPEAT, _FLIP = ord("}"), ord("*"), 0x20


@dataclass(frozen=True, slots=True)
class Dialect:
    """How one of them is started, and the command by which it reads most at once."""

    name: str
    programs: str
    arguments: tuple[str, ...]
    bulk: str


GDB = Dialect("gdbserver", "gdbserver", ("--once", "--attach", "-", "{pid}"), bulk="m")
LLDB = Dialect(
    "lldb-server", "lldb-server*", ("gdbserver", "--fd", "0", "--attach", "{pid}"), bulk="x"
)


class RemoteSerial:
    """A server that is attached."""

    def __init__(self, connection: socket.socket, dialect: Dialect) -> None:
        self._socket = connection
        self._socket.settimeout(_PATIENCE_S)
        self._buffer = bytearray(_BUFFER)
        self._view = memoryview(self._buffer)
        self._dialect = dialect
        self._ask("QStartNoAckMode", begin=b"+")
        self._socket.sendall(b"+")
        size = re.search(rb"PacketSize=([0-9a-fA-F]+)", self._ask("qSupported"))
        digits = 1 if dialect.bulk == "x" else 2
        self._largest = ((int(size[1], 16) if size else 1024) - _FRAME) // digits
        # gdbserver 13 answers every `m` with E01 until it was asked why the process stands still.
        self._ask("?")

    def small(self, addresses: Sequence[int], length: int) -> list[bytes]:
        """Build a packet for each address."""
        return [_packet(f"m{address:x},{length:x}") for address in addresses]

    def bulk(self, address: int, length: int) -> list[bytes]:
        """Build the packets that read a range, each of them as much as the server allows."""
        step = self._largest
        return [
            _packet(f"{self._dialect.bulk}{address + at:x},{min(step, length - at):x}")
            for at in range(0, length, step)
        ]

    def exchange(
        self, packets: Sequence[bytes], window: int, sink: Callable[[memoryview], object] = len
    ) -> None:
        """Send all, ``window`` of them unanswered at most; what comes goes to ``sink`` as it is.

        It is not decoded: a decoder in Python takes longer than the servers do.
        """
        sent = answered = tail = 0
        while answered < len(packets) or tail < 2:
            more = min(answered + window, len(packets))
            if more > sent:
                self._socket.sendall(b"".join(packets[sent:more]))
                sent = more
            got = self._socket.recv_into(self._buffer)
            if not got:
                raise ConnectionResetError(f"{self._dialect.name} has ended")
            sink(self._view[:got])
            # Content never holds the sign; two digits come behind it.
            answered += self._buffer.count(b"#", 0, got)
            last = self._buffer.rfind(b"#", 0, got)
            tail = tail + got if last < 0 else got - last - 1

    def read(self, packets: Sequence[bytes], window: int) -> bytes:
        """Send all, and decode the answers."""
        received = bytearray()
        self.exchange(packets, window, received.extend)
        answers = [part[1:] for part in re.findall(rb"\$[^#]*(?=#)", bytes(received))]
        if len(answers) != len(packets):
            raise ValueError(f"{self._dialect.name} answered {received[:80]!r}")
        return b"".join(map(_content, packets, answers))

    def _ask(self, command: str, begin: bytes = b"") -> bytes:
        received = bytearray()
        self.exchange([begin + _packet(command)], 1, received.extend)
        return bytes(received)


Ends = tuple[socket.socket, socket.socket]


def unix_pair() -> Ends:
    """Make the two ends of a connection."""
    return socket.socketpair()


def tcp_pair() -> Ends:
    """Make the two ends of a connection over loopback, none of which holds small packets back."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        theirs, _ = listener.accept()
    for end in (ours, theirs):
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return ours, theirs


@contextmanager
def attached(dialect: Dialect, pid: int, ends: Ends) -> Iterator[RemoteSerial]:
    """Start a server that is attached to the process, and talks on the second end."""
    ours, theirs = ends
    with ours:
        with theirs:
            command = [str(find(dialect)), *(each.format(pid=pid) for each in dialect.arguments)]
            end = theirs.fileno()
            process = subprocess.Popen(command, stdin=end, stdout=end, stderr=subprocess.DEVNULL)
        try:
            yield _introduced(ours, dialect)
        finally:
            process.kill()
            process.wait(_PATIENCE_S)


def _introduced(connection: socket.socket, dialect: Dialect) -> RemoteSerial:
    try:
        return RemoteSerial(connection, dialect)
    except ConnectionError:
        raise Skipped(f"{dialect.name} cannot attach to a process here") from None


def version(dialect: Dialect) -> str:
    """Ask the program which one it is."""
    argument = "--version" if dialect is GDB else "version"
    said = subprocess.check_output([find(dialect), argument], stderr=subprocess.STDOUT, text=True)
    return said.splitlines()[0].split()[-1]


@cache
def find(dialect: Dialect) -> Path:
    """Find the program; Debian puts a version behind the name of lldb's."""
    for found in sorted(Path("/usr/bin").glob(dialect.programs), reverse=True):
        return found
    raise Skipped(f"{dialect.name} is not installed, and could not be: `make bench-peers` says why")


def _packet(command: str) -> bytes:
    return f"${command}#{sum(command.encode()) % 256:02x}".encode()


def _content(packet: bytes, answer: bytes) -> bytes:
    """Decode an answer: escapes, runs, and digits where they were asked for."""
    plain = bytearray()
    letters = iter(answer)
    binary = packet.startswith(b"$x")
    for letter in letters:
        if letter == _ESCAPE:
            plain.append(next(letters) ^ _FLIP)
        elif letter == _REPEAT and not binary:
            plain.extend(plain[-1:] * (next(letters) - _LETTER_OFFSET))
        else:
            plain.append(letter)
    return bytes(plain) if binary else bytes.fromhex(plain.decode())
