"""Fixtures of the stream."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.targets import Target, start
from support.websocket import WebSocket

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.wire import Served


@pytest.fixture
def ws(served: Served) -> Iterator[WebSocket]:
    with WebSocket(served.connect()) as opened:
        yield opened


@pytest.fixture
def hung() -> Iterator[Target]:
    with start("uffd", 16) as target:
        yield target
