"""What was read is let go of with its answer, not when Python's collector comes round.

The service lets that come rarely (`GC_THRESHOLD` of farpeek_api.serving.server), and an answer
may have 16 MiB.
"""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import pytest

from farpeek.model import Mode, ReadResult, ReadSpec, Regions
from support.asking import ask
from support.sample import Sample

if TYPE_CHECKING:
    from farpeek.memory import MemoryService


@pytest.mark.parametrize("mode", Mode)
async def test_nothing_that_was_read_outlives_its_answer(
    service: MemoryService, mode: Mode
) -> None:
    with Sample() as process:
        target, _ = await service.register(process.pid)
        spec = ReadSpec(Regions([process.address], [4096]), mode)
        gc.collect()
        gc.disable()
        try:
            before = _results()
            for _ in range(5):
                await ask(service, target.id, spec)
            kept = [each for each in _results() if not any(each is other for other in before)]
        finally:
            gc.enable()
        # The loop itself may still hold the last one.
        assert len(kept) <= 1


def _results() -> list[ReadResult]:
    """Those of other tests' modules, made by hand, are among them."""
    return [each for each in gc.get_objects() if isinstance(each, ReadResult)]
