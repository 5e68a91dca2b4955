"""All at once, for a moment: each answer is right, and nothing is kept."""

from __future__ import annotations

from endurance.soak.run import run

REQUESTS = {"readv (frame)", "bulk", "pieces", "tick", "tick of a match", "event", "write"}
TOOLS = {"plan", "search", "core", "threads", "file"}
FAULTS = {"execve", "pages hang", "a target is killed"}


def test_each_answer_is_right_while_targets_and_policies_come_and_go() -> None:
    for seconds in (4, 16, 64):
        outcome = run(seconds=seconds, seed=1, warming_s=1, events=0)
        assert outcome.verdict() == []
        if outcome.requests.keys() >= REQUESTS | TOOLS and outcome.faults.keys() >= FAULTS:
            break
    assert set(outcome.requests) >= REQUESTS | TOOLS
    assert set(outcome.faults) >= FAULTS
