"""Using MemoryService as the server does: one read, and the end."""

from __future__ import annotations

import asyncio
import struct
import time
from typing import TYPE_CHECKING

from farpeek.model import ReadSpec, Regions
from support.waiting import PATIENCE_S

if TYPE_CHECKING:
    from farpeek.memory import MemoryService
    from farpeek.model import ReadResult

_MARKER = 0x5EC000000000


async def ask(
    service: MemoryService, target_id: str, spec: ReadSpec, timeout_s: float | None = None
) -> ReadResult:
    """Read under a lease that ends with the answer."""
    with service.lease(spec) as lease:
        return await service.read(target_id, spec, lease, timeout_s)


async def close(service: MemoryService) -> None:
    """Close a service; each thread of it has to come back from the kernel.

    MemoryService.close alone waits for no read that nobody waits for: its thread may be on its way
    back.
    """
    give_up = time.monotonic() + PATIENCE_S
    while not await service.close(5.0):
        assert time.monotonic() < give_up, "a thread is left in the kernel"
        await asyncio.sleep(0.001)


async def marker(service: MemoryService, target_id: str) -> int:
    """Read what the program of a target was started with."""
    result = await ask(service, target_id, ReadSpec(Regions([_MARKER], [8])))
    assert result.complete
    (value,) = struct.unpack("=Q", result.data)
    return int(value)
