"""A profiler's day: processes come and go under one subscription."""

from __future__ import annotations

import pytest

from support import herd


@pytest.mark.slow
def test_a_herd_that_comes_and_goes_is_sampled_without_a_wrong_value_or_a_lost_exit() -> None:
    outcome = herd.run(15)
    assert outcome.frames > 15 * herd.PROCESSES  # one a second of each, at the very least
    assert outcome.wrong == 0
    assert outcome.reasons == {"target-exited": outcome.killed}
    assert set(outcome.left.values()) == {1}
    assert outcome.ended == ["unsubscribed"]
    assert outcome.kept_targets == 0
