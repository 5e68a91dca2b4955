"""What lldb asks besides: docs/resources/lldbgdbremote.md of LLVM has it all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from farpeek_api.gateway import packets, stops

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from farpeek_api.client import MappedRegion
    from farpeek_api.gateway.inferior import Inferior
    from farpeek_api.gateway.stops import Dialect

_END = 1 << 64


class Lldb:
    """Answers by the beginnings of requests: ``table`` has a method for each."""

    def __init__(self, inferior: Inferior, dialect: Dialect) -> None:
        self._inferior = inferior
        self._dialect = dialect
        self.table: Mapping[bytes, Callable[[bytes], bytes]] = {
            b"QThreadSuffixSupported": self._suffixes,
            b"QListThreadsInStopReply": self._lists_threads,
            b"qHostInfo": self._host,
            b"qProcessInfo": self._process,
            b"qMemoryRegionInfo": self._region,
            b"qThreadStopInfo": self._stop,
            b"MultiMemRead": self._read_many,
        }

    def _suffixes(self, rest: bytes) -> bytes:
        del rest
        self._dialect.suffixes = True
        return b"OK"

    def _lists_threads(self, rest: bytes) -> bytes:
        del rest
        self._dialect.lists_threads = True
        return b"OK"

    def _host(self, rest: bytes) -> bytes:
        del rest
        return b"%b;ptrsize:8;endian:little;" % self._triple()

    def _process(self, rest: bytes) -> bytes:
        del rest
        process = self._inferior.target.info.process
        users = b"real-uid:%x;real-gid:%x;" % (process.uid, process.gid)
        told = b"pid:%x;%b%b;ostype:linux;" % (self._inferior.pid, users, self._triple())
        return told + b"endian:little;ptrsize:8;"

    def _triple(self) -> bytes:
        return b"triple:" + self._inferior.architecture.triple.encode().hex().encode()

    def _region(self, rest: bytes) -> bytes:
        """Tell of a mapping; of a hole, how long it is."""
        asked = packets.number(rest.removeprefix(b":"))
        address = self._inferior.target.info.untagged(asked)
        start = 0
        for each in self._inferior.mappings:
            if address < each.start:
                return _hole(address, each.start)
            if address < each.end:
                return _mapping(each)
            start = each.end
        return _hole(max(address, start), _END)

    def _stop(self, rest: bytes) -> bytes:
        tid = packets.number(rest)
        if self._inferior.thread(tid) is None:
            return b"E16"
        return stops.stopped(self._inferior, self._dialect, tid)

    def _read_many(self, rest: bytes) -> bytes:
        """Read ranges together; one that has a gap is empty."""
        words, _, _ = rest.removeprefix(b":ranges:").partition(b";")
        values = packets.numbers(words)
        regions = list(zip(values[::2], values[1::2], strict=True))
        if sum(length for _, length in regions) > packets.SAFE // 2:
            return b"E22"
        data = self._inferior.read_many(regions)
        lengths = b",".join(b"%x" % len(each) for each in data)
        return lengths + b";" + packets.escape(b"".join(data))


def _hole(start: int, end: int) -> bytes:
    return b"start:%x;size:%x;" % (start, end - start)


def _mapping(mapping: MappedRegion) -> bytes:
    perms = "".join(each for each in mapping.perms[:3] if each != "-").encode()
    told = b"start:%x;size:%x;permissions:%b;" % (mapping.start, mapping.length, perms)
    if not mapping.path:
        return told
    return told + b"name:%b;" % mapping.path.encode("utf-8", "backslashreplace").hex().encode()
