"""TARGET and LENGTH words, and what is said of wrong ones."""

from __future__ import annotations

import pytest

from farpeek_api.cli.errors import WrongWord
from farpeek_api.cli.words import amounts, target
from farpeek_api.cli.words.nearest import nearest


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("4242", {"pid": 4242}),
        ("4242-8812345", {"id": "4242-8812345"}),
        ("comm=ruby", {"match": {"comm": "ruby"}}),
        ("exe=*/ruby,uid=1000", {"match": {"exe": "*/ruby", "uid": 1000}}),
        ("container=3f2a*", {"match": {"container": "3f2a*"}}),
        ("comm=a,b=c", {"match": {"comm": "a,b=c"}}),
        ("cgroup=/a=b", {"match": {"cgroup": "/a=b"}}),
        ("ns_pid=17", {"match": {"ns_pid": 17}}),
    ],
)
def test_a_target_is_named_in_one_of_three_ways(word: str, meant: dict[str, object]) -> None:
    assert target.parse(word) == target.TargetWord(word, **meant)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("word", "cure"),
    [
        ("ruby", "comm="),
        ("", "comm="),
        ("com=ruby", "did you mean comm=ruby"),
        ("Container=x", "did you mean container=x"),
        ("comm=", "comm=VALUE"),
        ("uid=root", "decimal number"),
        ("uid=-1", "decimal number"),
        ("99999999999999999999", "decimal number"),
        ("٤٢", "comm="),
    ],
)
def test_a_wrong_target_is_told_with_its_cure(word: str, cure: str) -> None:
    with pytest.raises(WrongWord) as raised:
        target.parse(word)
    assert cure in str(raised.value)


@pytest.mark.parametrize(
    ("word", "meant"),
    [("64", 64), ("0x40", 64), ("4K", 4096), ("4k", 4096), ("1MiB", 1 << 20), ("2GB", 2 << 30)],
)
def test_a_length_has_units(word: str, meant: int) -> None:
    assert amounts.length(word) == meant


@pytest.mark.parametrize("word", ["", "0", "-1", "1.5", "4X", "K", "0x", "9" * 24, "1e3", "0x10K"])
def test_a_wrong_length_is_named(word: str) -> None:
    with pytest.raises(WrongWord, match=f"'{word}' is no length"):
        amounts.length(word)


def test_the_nearest_word_is_found_whatever_its_case() -> None:
    assert nearest("JOSN", ["--json", "json", "curl"]) == "json"
    assert nearest("xyz", ["json", "curl"]) is None
    assert nearest("a" * 100_000, ["a" * 100_000]) is None
