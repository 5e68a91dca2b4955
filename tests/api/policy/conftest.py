"""Two programs, of which a policy lets a client see one."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from support.folders import open_folder
from support.targets import Target, build

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def programs() -> Iterator[Path]:
    with open_folder() as made:
        for name in ("ruby", "vault"):
            shutil.copy(build("changing"), made / name)
        yield made


@pytest.fixture
def ruby(programs: Path) -> Iterator[Target]:
    with Target("changing", program=programs / "ruby") as process:
        yield process
