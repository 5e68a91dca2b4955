"""What debuggers read as documents, by qXfer: registers, auxiliary vector, threads, libraries."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final
from xml.sax.saxutils import escape, quoteattr

from farpeek_api.gateway import libraries, packets

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from farpeek_api.client.results import Thread
    from farpeek_api.gateway.inferior import Inferior

_PAIR: Final = struct.Struct("<QQ")
_TYPES: Final[Mapping[str, int]] = {  # include/uapi/linux/auxvec.h
    "AT_IGNORE": 1,
    "AT_EXECFD": 2,
    "AT_PHDR": 3,
    "AT_PHENT": 4,
    "AT_PHNUM": 5,
    "AT_PAGESZ": 6,
    "AT_BASE": 7,
    "AT_FLAGS": 8,
    "AT_ENTRY": 9,
    "AT_NOTELF": 10,
    "AT_UID": 11,
    "AT_EUID": 12,
    "AT_GID": 13,
    "AT_EGID": 14,
    "AT_PLATFORM": 15,
    "AT_HWCAP": 16,
    "AT_CLKTCK": 17,
    "AT_SECURE": 23,
    "AT_BASE_PLATFORM": 24,
    "AT_RANDOM": 25,
    "AT_HWCAP2": 26,
    "AT_RSEQ_FEATURE_SIZE": 27,
    "AT_RSEQ_ALIGN": 28,
    "AT_HWCAP3": 29,
    "AT_HWCAP4": 30,
    "AT_EXECFN": 31,
    "AT_SYSINFO": 32,
    "AT_SYSINFO_EHDR": 33,
    "AT_MINSIGSTKSZ": 51,
}

FEATURES: Final = tuple(
    f"qXfer:{name}:read+" for name in ("features", "auxv", "threads", "libraries-svr4", "exec-file")
)


class Documents:
    """A document is made when its beginning is asked for, and kept until the next one's is."""

    def __init__(self, inferior: Inferior, thread_id: Callable[[int], bytes]) -> None:
        self._inferior = inferior
        self._thread_id = thread_id
        self._kept: tuple[bytes, bytes] = b"", b""
        self._makers: dict[bytes, Callable[[bytes], bytes | None]] = {
            b"features": self._features,
            b"auxv": lambda _: auxv(self._inferior.auxv),
            b"threads": lambda _: self._threads(),
            b"libraries-svr4": lambda _: libraries.xml(*self._inferior.libraries),
            b"exec-file": lambda _: self._inferior.executable().encode(),
        }

    def answer(self, request: bytes) -> bytes:
        """Answer what stands behind ``qXfer:``. Raises ValueError."""
        what, action, rest = [*request.split(b":", 2), b"", b""][:3]
        make = self._makers.get(what)
        if make is None or action != b"read":
            return b""
        annex, _, place = rest.rpartition(b":")
        offset, length = packets.numbers(place)
        name = what + b":" + annex
        if not offset or self._kept[0] != name:
            content = make(annex)
            if content is None:
                return b"E00"  # the annex is none
            self._kept = name, content
        content = self._kept[1]
        part = content[offset : offset + min(length, packets.SAFE)]
        is_last = offset + len(part) >= len(content)
        return (b"l" if is_last else b"m") + packets.escape(part)

    def _features(self, annex: bytes) -> bytes | None:
        return self._inferior.architecture.target_xml() if annex == b"target.xml" else None

    def _threads(self) -> bytes:
        shown = "".join(map(self._thread, self._inferior.threads))
        return f'<?xml version="1.0"?><threads>{shown}</threads>'.encode()

    def _thread(self, thread: Thread) -> str:
        name = quoteattr(libraries.printable(thread.comm))
        doing = escape(libraries.printable(state(thread)))
        return f'<thread id="{self._thread_id(thread.tid).decode()}" name={name}>{doing}</thread>'


def state(thread: Thread) -> str:
    """Say what a thread is at."""
    if thread.running:
        return "running: its registers are not known"
    return f"{thread.state}, in {thread.wchan}" if thread.wchan else thread.state


def auxv(values: Mapping[str, int]) -> bytes:
    """Write an auxiliary vector as memory has it, of the names that the service tells."""
    kinds = {_type(name): value & (1 << 64) - 1 for name, value in values.items()}
    kinds.pop(None, None)
    return b"".join(_PAIR.pack(kind, value) for kind, value in [*kinds.items(), (0, 0)])


def _type(name: str) -> int | None:
    number = name.removeprefix("AT_")
    return int(number) if number.isdecimal() and len(number) < 10 else _TYPES.get(name)  # noqa: PLR2004 - digits
