"""Content codings of streams: what a client takes, and how what goes out is compressed."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Final, Protocol

import zstandard

if TYPE_CHECKING:
    from collections.abc import Iterable

_MOST_LOOKED_AT: Final = 1024  # characters of a header
_LEVEL: Final = 1  # memory is large, and mostly goes to the same host
_SMALL: Final = 32 << 10  # bytes of a piece that is copied, in place of a write of its own
_TOGETHER: Final = 256 << 10
_GZIP: Final = 16 + zlib.MAX_WBITS  # with its header; zlib.compressobj


class Coder(Protocol):
    """Encodes one stream, in one thread at a time."""

    def encode(self, pieces: Iterable[bytes | memoryview]) -> list[bytes | memoryview]:
        """What goes out for ``pieces``; all of them can be decoded from it."""
        ...

    def end(self) -> bytes:
        """What goes out last."""
        ...


class Plain:
    """Sends bytes as they are."""

    def encode(self, pieces: Iterable[bytes | memoryview]) -> list[bytes | memoryview]:
        """See ``Coder``. Small pieces go together, for there may be hundreds in a MiB."""
        out: list[bytes | memoryview] = []
        small: list[bytes | memoryview] = []
        size = 0
        for piece in pieces:
            length = len(piece)
            if length <= _SMALL:
                small.append(piece)
                size += length
                if size <= _TOGETHER:
                    continue
            if small:
                out.append(b"".join(small))
                small.clear()
                size = 0
            if length > _SMALL:
                out.append(piece)
        if small:
            out.append(b"".join(small))
        return out

    def end(self) -> bytes:
        """See ``Coder``."""
        return b""


class Zstd:
    """RFC 8878."""

    def __init__(self) -> None:
        self._stream = zstandard.ZstdCompressor(level=_LEVEL).compressobj()

    def encode(self, pieces: Iterable[bytes | memoryview]) -> list[bytes | memoryview]:
        """See ``Coder``."""
        out = [self._stream.compress(piece) for piece in pieces]
        out.append(self._stream.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK))
        return [piece for piece in out if piece]

    def end(self) -> bytes:
        """See ``Coder``."""
        return self._stream.flush(zstandard.COMPRESSOBJ_FLUSH_FINISH)


class Gzip:
    """RFC 1952."""

    def __init__(self) -> None:
        self._stream = zlib.compressobj(_LEVEL, wbits=_GZIP)

    def encode(self, pieces: Iterable[bytes | memoryview]) -> list[bytes | memoryview]:
        """See ``Coder``."""
        out = [self._stream.compress(piece) for piece in pieces]
        out.append(self._stream.flush(zlib.Z_SYNC_FLUSH))
        return [piece for piece in out if piece]

    def end(self) -> bytes:
        """See ``Coder``."""
        return self._stream.flush(zlib.Z_FINISH)


GZIP: Final = "gzip"
CODERS: Final[dict[str, type[Zstd | Gzip]]] = {"zstd": Zstd, GZIP: Gzip}
"""By the name of the coding, the best first."""


def choose(accepted: str) -> str | None:
    """The best coding that ``Accept-Encoding`` names; None if it names none that is known.

    One that is refused (``;q=0``) is not taken; ``*`` names none.
    """
    named = _named(accepted)
    return next((name for name in CODERS if name in named), None)


def takes_gzip(accepted: str) -> bool:
    """Whether ``Accept-Encoding`` names it, as `choose` looks at that."""
    return GZIP in _named(accepted)


def _named(accepted: str) -> set[str]:
    named: set[str] = set()
    for item in accepted[:_MOST_LOOKED_AT].lower().split(","):
        name, _, parameters = item.partition(";")
        if parameters.strip().replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000"):
            named.add(name.strip())
    return named
