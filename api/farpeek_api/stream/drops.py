"""Ticks of a subscription that were lost, and whose doing it was."""

from __future__ import annotations

from typing import Final


class Drops:
    """Counts of ticks by whose doing it was that they were lost.

    ``client``: it did not take the frames; ``target``: a read was still under way; ``service``: we
    came late, or were busy.
    """

    __slots__ = ("client", "service", "target")

    def __init__(self) -> None:
        self.client = self.target = self.service = 0

    @property
    def total(self) -> int:
        """All of them."""
        return self.client + self.target + self.service

    def take(self) -> Drops:
        """Give what was counted, and begin to count anew."""
        if not self.total:  # as mostly
            return NONE
        taken = Drops()
        taken.add(self)
        self.client = self.target = self.service = 0
        return taken

    def add(self, other: Drops) -> None:
        """Count those, too."""
        self.client += other.client
        self.target += other.target
        self.service += other.service

    def as_members(self) -> bytes:
        """Write them as members of a frame's object."""
        return _NONE_WRITTEN if self is NONE else _written(self)


def _written(drops: Drops) -> bytes:
    return b'"dropped":%d,"dropped_by":{"client":%d,"target":%d,"service":%d}' % (
        drops.total,
        drops.client,
        drops.target,
        drops.service,
    )


NONE: Final = Drops()
"""Nothing was lost; it stays so."""

_NONE_WRITTEN: Final = _written(NONE)
