"""A TLS transport that is given a part at a time, so that it says when nothing is taken.

uvloop's TLS (0.23) enciphers all it is given at once, and hands that on to the socket's transport,
of whose buffer nobody is told. That one pauses it from 64 KiB on. So what can wait there unseen is
little more than a slice, where it would be whatever was written. They also are a third faster than
a mebibyte at once, for the buffer between the two grows in steps, each of which copies it.
"""

from __future__ import annotations

from typing import Final

from farpeek_api.serving.wrapped import WrappedTransport

SLICE: Final = 256 << 10


class SlicedTransport(WrappedTransport):
    """Another transport, with long writes cut."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """See ``WriteTransport``."""
        if len(data) <= SLICE:
            self._inner.write(data)
            return
        view = memoryview(data)
        for start in range(0, len(view), SLICE):
            self._inner.write(view[start : start + SLICE])
