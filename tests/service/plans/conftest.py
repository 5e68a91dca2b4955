"""What the tests of plans follow."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.targets import Target, start

if TYPE_CHECKING:
    from collections.abc import Iterator

COUNT = 3000


@pytest.fixture(scope="module")
def lists() -> Iterator[Target]:
    with start("lists", COUNT) as target:
        yield target
