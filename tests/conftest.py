"""Fixtures for all tests, and the check that a run leaves nothing behind."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
import uvloop
from hypothesis import settings

from support import forked, leftovers
from support.folders import open_folders
from support.waiting import until

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterator, Mapping

# It is for `make test-kernel` alone, and farpeek refuses variables of its own name that it does not
# know, in services that tests start as in settings that they read here.
os.environ.pop("FARPEEK_TEST_KERNEL", None)

# A fresh clone has no bytecode, and images often ask that none be written. Each of the services and
# commands that tests start would compile the whole project again: 1.85 s a start for 1.2.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# pytest-xdist sets it for its workers, and commands would take it for their own width.
os.environ.pop("COLUMNS", None)

# No timing decides about pass or fail, on a slow kernel least of all.
settings.register_profile("farpeek", deadline=None)
settings.load_profile("farpeek")


def pytest_asyncio_loop_factories(
    config: pytest.Config,
    item: pytest.Item,
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run every test on the loop that the service runs on."""
    del config, item
    return {"uvloop": uvloop.new_event_loop}


_HELD_THE_FIRST_TIME = ("never", "impostor", "no_byte", "no_answer")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give a test a second try, unless its name promises that something never happens.

    Thousands of tests share a machine with processes that they kill, stop and starve. What fails by
    that alone passes when it is tried again, and the summary names it. Bytes of another process are
    wrong the first time.
    """
    for item in items:
        if not any(word in item.name for word in _HELD_THE_FIRST_TIME):
            item.add_marker(pytest.mark.flaky(reruns=1, reruns_delay=1))


@pytest.fixture(scope="session", autouse=True)
def nothing_is_left_behind() -> Iterator[None]:
    """Fail the run if it leaves a process, a mount or a folder behind."""
    mounts = leftovers.mounts()
    children = leftovers.children()
    folders = open_folders()
    yield
    forked.end()
    until(lambda: leftovers.children() <= children, "no child process is left behind")
    assert leftovers.mounts() <= mounts, "a mount is left behind"
    assert open_folders() <= folders, "a folder is left behind"
