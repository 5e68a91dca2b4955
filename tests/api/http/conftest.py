"""A service that may write, and what it writes to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.folders import open_folder
from support.targets import Target, start
from support.wire import Served

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def writing() -> Iterator[Served]:
    """Run a service that may write, with little patience."""
    flags = ["--allow-writes", "--listen", "http://127.0.0.1:0", "--deadline", "1"]
    with open_folder() as made, Served(made, *flags) as service:
        yield service


@pytest.fixture
def written(tmp_path: Path) -> Iterator[Target]:
    with start("written", tmp_path / "file") as made:
        yield made
