"""Writes by the client, of a service that allows them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from farpeek_api.client import ExpectationFailed, Forbidden
from support import targets
from support.wire import Served

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from farpeek_api.client import Client, Target
    from support.sample import Sample


@pytest.fixture
def plain() -> Iterator[targets.Target]:
    with targets.start("plain", "--marker", 77) as process:
        yield process


@pytest.fixture
def writable(
    connect: Callable[..., Client], folder: Path, plain: targets.Target
) -> Iterator[Target]:
    with Served(folder, "--allow-writes") as service:
        yield connect(f"unix:{service.path}").target(plain.pid)


def test_a_write_says_what_was_there_before(writable: Target, plain: targets.Target) -> None:
    at = plain["marker"]
    result = writable.writev([(at, b"abc"), (at + 5, b"")], expect=[b"\x4d\0\0", b""])
    assert (result.written, result.requested, result.verified, result.complete) == (
        3,
        3,
        True,
        True,
    )
    assert result.before == b"\x4d\0\0"
    assert writable.read(at, 4) == b"abc\0"


def test_a_write_that_expects_something_else_writes_nothing(
    writable: Target, plain: targets.Target
) -> None:
    at = plain["marker"]
    with pytest.raises(ExpectationFailed) as caught:
        writable.writev([(at, b"abc")], expect=[b"\x4d\1\0"])
    assert caught.value.members["difference"] is not None
    assert writable.u64(at) == 77


def test_a_rehearsal_says_what_would_be_written(writable: Target, plain: targets.Target) -> None:
    result = writable.writev([(plain["marker"], b"abc"), (0, b"x")], dry_run=True)
    assert (result.written, result.would_write, result.complete) == (0, 3, False)
    assert [(gap.region, gap.address) for gap in result.gaps] == [(1, 0)]
    assert writable.u64(plain["marker"]) == 77


def test_a_service_that_allows_no_writes_says_so(seen: Target, sample: Sample) -> None:
    with pytest.raises(Forbidden, match="--allow-writes"):
        seen.writev([(sample.address, b"x")])
