"""What an address is on this architecture: the one place that knows.

arm64 ignores the highest byte of a user's address, and programs keep tags there (HWASan, MTE,
runtimes of languages; Documentation/arch/arm64/tagged-pointers.rst). Of the kernel's calls some
take such an address, some find nothing there, and some answer with another one. So the tag is taken
off before anything is done about an address, and whoever named it is answered with his own.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Final, Protocol

from farpeek import columns, machine

if TYPE_CHECKING:
    from collections.abc import Sequence


class Addressing(Protocol):
    """How a processor takes addresses."""

    kernel_half: int
    """From here on they are the kernel's, and no process has a page there."""
    bits: int
    """Of a user's address, counted from the lowest, that say where it is."""

    def untagged(self, address: int) -> int:
        """The address without what the processor ignores of it."""
        ...

    def all_untagged(self, addresses: Sequence[int]) -> Sequence[int]:
        """The same of a column; the very same one where there are no tags."""
        ...


class Whole:
    """All bits count."""

    kernel_half: int = 1 << 63
    bits: int = 64

    def untagged(self, address: int) -> int:
        """See ``Addressing``."""
        return address

    def all_untagged(self, addresses: Sequence[int]) -> Sequence[int]:
        """See ``Addressing``."""
        return addresses


class TopByteIgnored:
    """Bit 55 tells the halves, and of a user's address that is the highest one that counts.

    So the kernel has it (``untagged_addr`` of arch/arm64/include/asm/uaccess.h).
    """

    kernel_half: int = 1 << 55
    bits: int = 56

    def untagged(self, address: int) -> int:
        """See ``Addressing``."""
        return address if address & self.kernel_half else address & (self.kernel_half - 1)

    def all_untagged(self, addresses: Sequence[int]) -> Sequence[int]:
        """See ``Addressing``."""
        found = columns.column(addresses)
        if columns.are_below_2_to_56(found):  # nearly always
            return addresses
        return array("Q", map(self.untagged, found))


_OF: Final[dict[str | None, Addressing]] = {"aarch64": TopByteIgnored()}
HERE: Addressing = _OF.get(machine.NAME, Whole())


def kernel_half() -> int:
    """See ``Addressing``."""
    return HERE.kernel_half


def bits() -> int:
    """See ``Addressing``."""
    return HERE.bits


def untagged(address: int) -> int:
    """See ``Addressing``."""
    return HERE.untagged(address)


def all_untagged(addresses: Sequence[int]) -> Sequence[int]:
    """See ``Addressing``."""
    return HERE.all_untagged(addresses)


def untagged_range(start: int, end: int) -> tuple[int, int]:
    """The same of ``start .. end``, by where it begins: it is as long as before."""
    first = HERE.untagged(start)
    return first, first + end - start
