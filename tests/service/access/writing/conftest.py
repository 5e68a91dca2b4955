"""Targets that are written to, and who writes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from farpeek.model import Mode
from support.targets import Target, start
from support.writing import WAYS, held, writers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from farpeek.access import WriteAccess
    from farpeek.identity import Process

Writers = dict[Mode, "WriteAccess"]


@pytest.fixture(params=WAYS)
def by_mode(request: pytest.FixtureRequest) -> Writers:
    found = writers(request.param)
    if found is None:
        pytest.skip("this kernel has no PROCESS_VM_PIDFD")
    return found


@pytest.fixture
def writer(by_mode: Writers) -> WriteAccess:
    return by_mode[Mode.WAIT]


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Target]:
    with start("written", tmp_path / "file") as made:
        yield made


@pytest.fixture
def process(target: Target) -> Iterator[Process]:
    with held(target.pid) as made:
        yield made
