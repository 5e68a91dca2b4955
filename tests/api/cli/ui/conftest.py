"""`farpeek ui`, for the tests of a module."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.ui import Ui

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.wire import Served


@pytest.fixture(scope="module")
def ui(served: Served) -> Iterator[Ui]:
    with Ui(f"unix:{served.path}") as running:
        yield running
