"""A target that the person has approved: whatever is read of it is of that one program."""

from __future__ import annotations

from typing import TYPE_CHECKING

from farpeek_api.client import Client, Target, calls
from farpeek_api.client.operations import operation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from farpeek_api.client import MappedRegion, ReadResult, TargetInfo, Thread
    from farpeek_api.client.calls import Mode, OnGap
    from farpeek_api.client.drivers import Driver
    from farpeek_api.client.steps import Call


class ApprovedTarget(Target):
    """Raises TargetChanged wherever another program is there than the one of ``info``."""

    def __init__(self, driver: Driver, info: TargetInfo) -> None:
        if info.generation is None:
            raise ValueError("a program that cannot be told from the next one is not approved")
        super().__init__(driver, info)
        self.generation: int = info.generation

    @operation
    def readv(  # noqa: PLR0913 - what the call has  # pyright: ignore[reportIncompatibleVariableOverride] - of a narrower self
        self,
        regions: Sequence[tuple[int, int]],
        *,
        mode: Mode | None = None,
        on_gap: OnGap | None = None,
        timeout_s: float | None = None,
        stable: int | None = None,
        prefetch: bool | None = None,
        generation: int | None = None,
    ) -> Call[ReadResult]:
        """Read, of the approved program alone."""
        del generation
        options = {
            "mode": mode,
            "on_gap": on_gap,
            "timeout_s": timeout_s,
            "stable": stable,
            "prefetch": prefetch,
            "generation": self.generation,
        }
        return calls.readv(self.id, regions, options)

    @operation
    def pointer(self, address: int, *, mode: Mode | None = None) -> Call[int]:  # pyright: ignore[reportIncompatibleVariableOverride] - of a narrower self
        """Read a pointer, of the approved program alone."""
        return self._pointer(address, mode)

    def _pointer(self, address: int, mode: Mode | None) -> Call[int]:
        options = {"mode": mode, "generation": self.generation}
        data = yield from calls.read(self.id, address, self.info.pointer_size or 8, options)
        return int.from_bytes(data, "big" if self.info.byte_order == "big" else "little")

    @operation
    def maps(  # pyright: ignore[reportIncompatibleVariableOverride] - of a narrower self
        self, *, address: int | None = None, residency: bool = False
    ) -> Call[list[MappedRegion]]:
        """List mappings. The call takes no generation, so it is looked at behind it."""
        return self._maps(None if address is None else hex(address), residency=residency)

    def _maps(self, address: str | None, *, residency: bool) -> Call[list[MappedRegion]]:
        query = {"address": address, "residency": residency or None}
        found = yield from calls.maps(self.id, query)
        yield from self._same_program()
        return found

    @operation
    def threads(self) -> Call[list[Thread]]:  # pyright: ignore[reportIncompatibleVariableOverride] - of a narrower self
        """List threads. The call takes no generation, so it is looked at behind it."""
        return self._threads()

    def _threads(self) -> Call[list[Thread]]:
        found = yield from calls.threads(self.id)
        yield from self._same_program()
        return found

    def _same_program(self) -> Call[None]:
        """Raise TargetChanged if it is another; the byte need not be there for that."""
        yield from calls.readv(self.id, [(0, 1)], {"generation": self.generation})


class ApprovingClient(Client):
    """A client that makes approved targets."""

    def approved(self, info: TargetInfo) -> ApprovedTarget:
        """Make one. ValueError where the service cannot tell the program from the next one."""
        return ApprovedTarget(self._driver, info)
