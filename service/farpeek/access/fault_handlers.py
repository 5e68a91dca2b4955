"""Handlers of page faults in a target: userfaultfd(2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from farpeek.model import ADDRESS_LIMIT

if TYPE_CHECKING:
    from collections.abc import Callable

    from farpeek.mappings.mapping import Mapping

_MOST_KNOWN: Final = 1024
"""Mappings; those of one piece of a long read are a quarter of that at most."""


class FaultHandlers:
    """Whether missing pages wait for a userfaultfd handler; asked in the order of the addresses.

    The question costs the process up to a page of page table, and a handler has whole mappings. So
    it is put once to a mapping, and again ``every`` so many bytes further on in it: a long read may
    last until a handler comes.
    """

    def __init__(self, every: int = ADDRESS_LIMIT) -> None:
        self._every = every
        # by the bounds of a mapping: where it was asked about, and what came of it
        self._known: dict[tuple[int, int], tuple[int, bool]] = {}

    def have(self, mapping: Mapping, address: int, ask: Callable[[int], bool]) -> bool:
        """Whether they have ``mapping``; ``ask`` finds out about the missing page at an address."""
        bounds = mapping.start, mapping.end
        known = self._known.get(bounds)
        if known is None or address - known[0] >= self._every:
            known = self._known[bounds] = address, ask(address)
            if len(self._known) > _MOST_KNOWN:
                del self._known[next(iter(self._known))]
        return known[1]

    def ask_again(self) -> None:
        """Put the question again, to every mapping."""
        self._known.clear()

    def none_up_to(self, mapping: Mapping) -> int:
        """The address up to which ``mapping`` is known to have none, and nobody is asked."""
        known = self._known.get((mapping.start, mapping.end))
        return 0 if known is None or known[1] else min(mapping.end, known[0] + self._every)


class NoHandlers(FaultHandlers):
    """For memory that was found to have none a moment before."""

    def have(self, mapping: Mapping, address: int, ask: Callable[[int], bool]) -> bool:
        """See ``FaultHandlers``; asks nobody."""
        del mapping, address, ask
        return False

    def none_up_to(self, mapping: Mapping) -> int:
        """See ``FaultHandlers``."""
        return mapping.end
