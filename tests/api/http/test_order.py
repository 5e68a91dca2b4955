"""The order of a request holds by every transport: a sequence lock shows each torn copy."""

from __future__ import annotations

import struct
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from support.targets import start
from support.transports import TRANSPORTS, Transports

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.wire import Served


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


@pytest.mark.parametrize("rounds", [300, pytest.param(10_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("mode", ["wait", "nowait"])
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_no_torn_copy_is_accepted(
    served: Served, stack: ExitStack, transport: str, mode: str, rounds: int
) -> None:
    target = stack.enter_context(start("seqlock"))
    places = [target["sequence"], target["record"], target["sequence"]]
    lengths = [8, 8 * target["words"], 8]
    target_id = served.register(target.pid)
    take = Transports(served, target_id, places, lengths, mode, stack).by(transport)
    accepted = mixed = 0
    for _ in range(rounds):
        before, *record, after = struct.unpack(f"<{target['words'] + 2}Q", take()[1])
        if before == after and not before % 2:
            accepted += 1
            mixed += len(set(record)) > 1
    assert accepted > 0
    assert mixed == 0
