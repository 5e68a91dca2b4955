"""Using MemoryService as the server does: one read, and the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support.waiting import aio_until

if TYPE_CHECKING:
    from farpeek.memory import MemoryService
    from farpeek.model import ReadResult, ReadSpec


async def ask(
    service: MemoryService, target_id: str, spec: ReadSpec, timeout_s: float | None = None
) -> ReadResult:
    """Read under a lease that ends with the answer."""
    with service.lease(spec) as lease:
        return await service.read(target_id, spec, lease, timeout_s)


async def close(service: MemoryService) -> None:
    """Close a service; no thread of it may be left in the kernel.

    MemoryService.close alone waits for no read that nobody waits for: its thread may be on its way
    back.
    """

    def is_idle() -> bool:
        threads = service.state().threads
        return not threads.busy and not threads.stuck

    await aio_until(is_idle, "all threads have returned")
    assert await service.close(5.0), "a thread is left in the kernel"
