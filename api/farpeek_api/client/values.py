"""Single values of a target's memory: numbers, pointers and strings, as its program has them."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from farpeek_api.client import calls
from farpeek_api.client.operations import operation

if TYPE_CHECKING:
    from farpeek_api.client.calls import Mode
    from farpeek_api.client.results import TargetInfo
    from farpeek_api.client.steps import Call

_POINTERS: Final = {4: "I", 8: "Q"}


class Values:
    """What can be read of a target by type."""

    info: TargetInfo

    @operation
    def unpack(
        self,
        format: str,  # noqa: A002 - as in struct
        address: int,
        *,
        mode: Mode | None = None,
    ) -> Call[tuple[int | float | bytes | bool, ...]]:
        """Read what `struct.unpack` then takes apart. IncompleteRead; struct.error for the format.

        >>> target.unpack("<BH", address)
        (0, 513)
        """
        return _unpack(self.info.id, struct.Struct(format), address, mode)

    @operation
    def u8(self, address: int, *, mode: Mode | None = None) -> Call[int]:
        """Read an unsigned integer of 8 bits. IncompleteRead.

        >>> target.u8(address + 7)
        7
        """
        return self._integer(address, "B", mode)

    @operation
    def u16(self, address: int, *, mode: Mode | None = None) -> Call[int]:
        """Read an unsigned integer of 16 bits, in the target's byte order. IncompleteRead.

        >>> hex(target.u16(address))
        '0x100'
        """
        return self._integer(address, "H", mode)

    @operation
    def u32(self, address: int, *, mode: Mode | None = None) -> Call[int]:
        """Read an unsigned integer of 32 bits, in the target's byte order. IncompleteRead.

        >>> hex(target.u32(address))
        '0x3020100'
        """
        return self._integer(address, "I", mode)

    @operation
    def u64(self, address: int, *, mode: Mode | None = None) -> Call[int]:
        """Read an unsigned integer of 64 bits, in the target's byte order. IncompleteRead.

        >>> hex(target.u64(address))
        '0x706050403020100'
        """
        return self._integer(address, "Q", mode)

    @operation
    def i8(self, address: int, *, mode: Mode | None = None) -> Call[int]:
        """Read a signed integer of 8 bits. IncompleteRead.

        >>> target.i8(address + 250)
        -6
        """
        return self._integer(address, "b", mode)

    @operation
    def i16(self, address: int, *, mode: Mode | None = None) -> Call[int]:
        """Read a signed integer of 16 bits, in the target's byte order. IncompleteRead.

        >>> target.i16(address + 200)
        -13880
        """
        return self._integer(address, "h", mode)

    @operation
    def i32(self, address: int, *, mode: Mode | None = None) -> Call[int]:
        """Read a signed integer of 32 bits, in the target's byte order. IncompleteRead.

        >>> target.i32(address)
        50462976
        """
        return self._integer(address, "i", mode)

    @operation
    def i64(self, address: int, *, mode: Mode | None = None) -> Call[int]:
        """Read a signed integer of 64 bits, in the target's byte order. IncompleteRead.

        >>> target.i64(address + 240) < 0
        True
        """
        return self._integer(address, "q", mode)

    @operation
    def f32(self, address: int, *, mode: Mode | None = None) -> Call[float]:
        """Read a float of 32 bits, in the target's byte order. IncompleteRead.

        >>> target.f32(address) < 1
        True
        """
        return self._number(address, "f", mode)

    @operation
    def f64(self, address: int, *, mode: Mode | None = None) -> Call[float]:
        """Read a float of 64 bits, in the target's byte order. IncompleteRead.

        >>> target.f64(address) < 1
        True
        """
        return self._number(address, "d", mode)

    @operation
    def pointer(self, address: int, *, mode: Mode | None = None) -> Call[int]:
        """Read an address, of the size that the target's program has. IncompleteRead.

        >>> target.pointer(address) == target.u64(address)
        True
        """
        # Where the service could not tell its size, it cannot read either, and says why.
        return self._integer(address, _POINTERS[self.info.pointer_size or 8], mode)

    @operation
    def cstring(self, address: int, *, limit: int = 4096, mode: Mode | None = None) -> Call[bytes]:
        r"""Read the bytes before the next NUL, which is looked for in ``limit`` bytes.

        ValueError if there is none among them, IncompleteRead if a gap comes first. It is read in
        pieces, the first one up to the end of its page, of one program: else TargetChanged.

        >>> target.cstring(address + 248)
        b'\xf8\xf9\xfa'
        """
        return calls.cstring(self.info, address, limit, {"mode": mode})

    def _integer(self, address: int, kind: str, mode: Mode | None) -> Call[int]:
        return _one(self.info.id, self._layout(kind), address, mode)

    def _number(self, address: int, kind: str, mode: Mode | None) -> Call[float]:
        return _one(self.info.id, self._layout(kind), address, mode)

    def _layout(self, kind: str) -> struct.Struct:
        return struct.Struct((">" if self.info.byte_order == "big" else "<") + kind)


def _unpack(
    target_id: str, layout: struct.Struct, address: int, mode: Mode | None
) -> Call[tuple[int | float | bytes | bool, ...]]:
    return layout.unpack((yield from calls.read(target_id, address, layout.size, {"mode": mode})))


def _one(target_id: str, layout: struct.Struct, address: int, mode: Mode | None) -> Call[int]:
    (value,) = layout.unpack(
        (yield from calls.read(target_id, address, layout.size, {"mode": mode}))
    )
    return value  # type: ignore[no-any-return]
