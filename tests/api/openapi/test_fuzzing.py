"""Whatever schemathesis makes of the document: nothing is unforeseen, nothing not described."""

from __future__ import annotations

import re

import pytest

from support.namespaces import call_in_private_pid_namespace, can_have_a_private_pid_namespace

PATIENCE_S = 900
PHASES = "examples,coverage,fuzzing"


def test_no_request_is_answered_in_a_way_that_is_not_described() -> None:
    if not can_have_a_private_pid_namespace():
        pytest.skip("needs a pid namespace: it registers, and writes to, whatever is there")
    done = call_in_private_pid_namespace(
        "support.fuzzing:fuzz",
        PATIENCE_S,
        arguments=["--seed", "20", "--max-examples", "25", "--phases", PHASES],
        most_s=PATIENCE_S,
    )
    assert done["status"] == 0, done["output"]
    found = re.search(r"(\d+) generated", done["output"])
    assert found is not None
    assert int(found[1]) > 1000
    assert "Traceback" not in done["log"]
