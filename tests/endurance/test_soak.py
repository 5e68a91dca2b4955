"""All at once, for a moment: each answer is right, and nothing is kept."""

from __future__ import annotations

from endurance.soak.run import run


def test_each_answer_is_right_while_targets_and_policies_come_and_go() -> None:
    outcome = run(seconds=4, seed=1, warming_s=1, events=0)
    assert outcome.verdict() == []
    assert {"readv (frame)", "bulk", "pieces", "tick", "tick of a match", "event", "write"} <= set(
        outcome.requests
    )
    assert {"execve", "pages hang", "a target is killed"} <= set(outcome.faults)
