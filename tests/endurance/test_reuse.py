"""The promise of the pidfd, seen from outside: no answer is ever that of another process."""

from __future__ import annotations

import pytest

from endurance.reuse import __main__ as reuse
from support.namespaces import can_have_a_private_pid_namespace

pytestmark = pytest.mark.skipif(
    not can_have_a_private_pid_namespace(),
    reason="a pid namespace of its own needs CAP_SYS_ADMIN",
)

FEW_ROUNDS = 60


def test_no_answer_and_no_write_is_of_a_process_that_got_the_number() -> None:
    seen = reuse.run(FEW_ROUNDS, seconds=60, controlled_every=1, seed=1)
    assert reuse.verdict(seen) == []
    assert seen["rounds"] >= FEW_ROUNDS
    assert {way for way, counts in seen["service"].items() if counts.get("own")} == {
        *reuse.EVERYTHING,
        reuse.SUBSCRIPTION,
    }
