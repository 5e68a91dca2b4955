"""Threads without a service around them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from farpeek.threads.pool import Pool
from farpeek.threads.supervision import StuckLimit

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def pool() -> AsyncIterator[Pool]:
    opened = Pool(asyncio.get_running_loop(), working=4, stuck_limit=StuckLimit(8))
    yield opened
    await opened.drain(5)
    opened.close()
