"""Whatever is sent, written or chosen by others keeps the laws of what takes it apart."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuzz.table import TARGETS

CORPUS = Path(__file__).parent / "corpus"
EXAMPLES = 25


@pytest.mark.parametrize("name", TARGETS)
def test_what_was_kept_keeps_the_laws(name: str) -> None:
    kept = sorted((CORPUS / name).iterdir())
    assert kept
    for path in kept:
        TARGETS[name](path.read_bytes())


@pytest.mark.parametrize("name", TARGETS)
def test_what_is_made_of_it_keeps_the_laws(name: str) -> None:
    kept = [path.read_bytes() for path in sorted((CORPUS / name).iterdir())]

    @settings(max_examples=EXAMPLES, derandomize=True, database=None)
    @given(st.sampled_from(kept), st.integers(0, 4096), st.integers(0, 64), st.binary(max_size=64))
    def put_in(content: bytes, at: int, taken: int, put: bytes) -> None:
        at %= len(content) + 1
        TARGETS[name](content[:at] + put + content[at + taken :])

    put_in()


def test_there_is_no_corpus_of_a_target_that_is_gone() -> None:
    assert {path.name for path in CORPUS.iterdir()} == set(TARGETS)
