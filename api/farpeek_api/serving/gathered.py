"""A transport that sends what is written in one turn of the loop by one system call.

uvloop (0.23) puts each write to the kernel at once, whatever the limits of its buffer say: 4,000
small frames a second took a tenth of a processor for that alone.
"""

from __future__ import annotations

import asyncio

from farpeek_api.serving.wrapped import WrappedTransport


class GatheringTransport(WrappedTransport):
    """Another transport, with its writes gathered."""

    def __init__(self, inner: asyncio.Transport, most: int) -> None:
        """``most``: bytes that are not held back for others any more."""
        super().__init__(inner)
        self._most = most
        self._kept: list[bytes | bytearray | memoryview] = []
        self._size = 0
        self._flushing: asyncio.Handle | None = None

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send ``data`` with what else comes in this turn; it must not change until then."""
        self._kept.append(data)
        self._size += len(data)
        if self._size >= self._most:
            self._flush()
        elif self._flushing is None:
            self._flushing = asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        if self._flushing is not None:
            self._flushing.cancel()
            self._flushing = None
        kept, self._kept = self._kept, []
        self._size = 0
        if kept:
            self._inner.write(kept[0] if len(kept) == 1 else b"".join(kept))

    def write_eof(self) -> None:
        """See ``WriteTransport``; what is kept goes before."""
        self._flush()
        self._inner.write_eof()

    def close(self) -> None:
        """See ``BaseTransport``; what is kept goes before."""
        self._flush()
        self._inner.close()

    def abort(self) -> None:
        """See ``WriteTransport``; what is kept is lost."""
        self._kept.clear()
        self._inner.abort()

    def get_write_buffer_size(self) -> int:
        """See ``WriteTransport``; with what is kept."""
        return self._inner.get_write_buffer_size() + self._size
