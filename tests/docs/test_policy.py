"""The policy that docs/policy.md shows is one, and its tables lack nothing."""

from __future__ import annotations

import re
from pathlib import Path

from farpeek_api.policy import file
from farpeek_api.policy.verbs import Verb

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "policy.md").read_text()


def test_the_policy_that_is_shown_is_one() -> None:
    (text,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    policy = file.parse(text, "policy.toml")
    assert policy.clients.keys() == {"profiler", "operator", "gateway"}
    assert policy.warnings == []


def test_every_verb_is_explained() -> None:
    explained = {
        name for row in re.findall(r"^\| (`.*?) \|", PAGE, re.MULTILINE) for name in row.split(", ")
    }
    assert {f"`{verb}`" for verb in Verb} <= explained
