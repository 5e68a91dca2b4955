"""The service's own objects, as the tests of this folder use them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from farpeek.access import choose
from farpeek.access.probe import probe
from farpeek.memory import MemoryService
from farpeek.model import Limits
from support.asking import close

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from farpeek.access import Access


@pytest.fixture(scope="session")
def access() -> Access:
    """Return the way to read memory that the service chooses here."""
    return choose(probe()).wait


@pytest_asyncio.fixture
async def service() -> AsyncIterator[MemoryService]:
    """Open a service with default limits; no thread of it may be left in the kernel at the end."""
    opened = await MemoryService.open(Limits())
    yield opened
    await close(opened)
