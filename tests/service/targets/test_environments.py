"""A process's own word that it is not to be read."""

from __future__ import annotations

import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from farpeek.targets import environments
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


@contextmanager
def sleeping(environment: Mapping[str, str]) -> Iterator[str]:
    """Run a process with that environment; its folder of /proc."""
    with subprocess.Popen(["/bin/sleep", "60"], env=environment) as process:
        try:
            yield f"/proc/{process.pid}"
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, False),
        ({"A": "FARPEEK_DENY=1", "XFARPEEK_DENY": "1", "FARPEEK_DENY": "0"}, False),
        ({"FARPEEK_DENY": "1"}, True),
        ({"A": "x" * 100_000, "FARPEEK_DENY": "1", "B": ""}, True),
        ({"A": "x" * 65_529, "FARPEEK_DENY": "1"}, True),  # lies across two pieces
        ({"A": "x" * 65_529, "PYTHON_DISABLE_REMOTE_DEBUG": "y" * 99_999}, True),
        ({"PYTHON_DISABLE_REMOTE_DEBUG": ""}, True),
        ({"PYTHON_DISABLE_REMOTE_DEBUGGER": "1"}, False),
    ],
)
def test_a_process_opts_out_by_its_environment(
    environment: Mapping[str, str],
    expected: bool,  # noqa: FBT001 - a column of a table
) -> None:
    with sleeping(environment) as proc:
        # The service's Programs look again, too, at one that has only just begun.
        until(lambda: environments.opts_out(proc) is not None, "the program has begun")
        assert environments.opts_out(proc) is expected


def test_what_is_gone_has_said_nothing() -> None:
    with sleeping({"FARPEEK_DENY": "1"}) as proc:
        pass
    assert environments.opts_out(proc) is False
