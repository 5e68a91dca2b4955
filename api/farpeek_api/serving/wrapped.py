"""A transport around another one, for what changes some of its calls."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable


class WrappedTransport(asyncio.Transport):
    """Another transport; for a protocol that uses no other call. See asyncio's for each."""

    def __init__(self, inner: asyncio.Transport) -> None:
        super().__init__()
        self._inner = inner

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """See ``WriteTransport``."""
        self._inner.write(data)

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        """Write each of them."""
        for data in list_of_data:
            self.write(data)

    def write_eof(self) -> None:
        """See ``WriteTransport``."""
        self._inner.write_eof()

    def close(self) -> None:
        """See ``BaseTransport``."""
        self._inner.close()

    def abort(self) -> None:
        """See ``WriteTransport``."""
        self._inner.abort()

    def is_closing(self) -> bool:
        """See ``BaseTransport``."""
        return self._inner.is_closing()

    def can_write_eof(self) -> bool:
        """See ``WriteTransport``."""
        return self._inner.can_write_eof()

    def get_write_buffer_size(self) -> int:
        """See ``WriteTransport``."""
        return self._inner.get_write_buffer_size()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """See ``WriteTransport``."""
        self._inner.set_write_buffer_limits(high, low)

    def get_extra_info(self, name: str, default: Any = None) -> Any:  # noqa: ANN401 - asyncio's own
        """See ``BaseTransport``."""
        return self._inner.get_extra_info(name, default)

    def is_reading(self) -> bool:
        """See ``ReadTransport``."""
        return self._inner.is_reading()

    def pause_reading(self) -> None:
        """See ``ReadTransport``."""
        self._inner.pause_reading()

    def resume_reading(self) -> None:
        """See ``ReadTransport``."""
        self._inner.resume_reading()
