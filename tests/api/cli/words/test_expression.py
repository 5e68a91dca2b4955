"""ADDRESS expressions and ranges: the cases of tests/expressions.json, and laws."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farpeek_api.cli.errors import WrongWord
from farpeek_api.cli.words import expression
from farpeek_api.cli.words.nearest import did_you_mean

_TESTS = Path(__file__).resolve().parents[3]
CASES = json.loads((_TESTS / "expressions.json").read_text())


class _Space:
    """The address space of the cases."""

    def __init__(self) -> None:
        self._bases: dict[str, int] = {}
        for each in CASES["mappings"]:
            for name in (each["name"], each["name"].rpartition("/")[2]):
                self._bases[name] = int(each["start"], 16)
        self._memory = {int(each["address"], 16): each["pointer"] for each in CASES["memory"]}

    def names(self) -> list[str]:
        return list(self._bases)

    def base(self, name: str) -> int:
        return self._bases[name]

    def symbol(self, name: str, file: str | None) -> int:
        for each in CASES["symbols"]:
            if each["name"] == name and (file is None or each["file"].endswith(file)):
                return int(each["address"], 16)
        known = [each["name"] for each in CASES["symbols"]]
        raise WrongWord(f"no symbol {name}{did_you_mean(name, known)}")

    def pointer(self, address: int) -> int:
        return int(self._memory[address], 16)


@pytest.mark.parametrize("case", CASES["addresses"], ids=lambda case: case["text"][:40])
def test_an_address_means_what_the_cases_say(case: dict[str, Any]) -> None:
    space = _Space()

    def evaluated() -> int:
        return expression.evaluate(expression.parse(case["text"], space.names), space)

    if "error" not in case:
        assert hex(evaluated()) == case["value"]
        return
    with pytest.raises(WrongWord) as raised:
        evaluated()
    assert case["error"] in str(raised.value)


@pytest.mark.parametrize("case", CASES["ranges"], ids=lambda case: case["text"])
def test_a_range_means_what_the_cases_say(case: dict[str, Any]) -> None:
    space = _Space()

    def evaluated() -> tuple[int, int]:
        found = expression.parse_range(case["text"], space.names)
        return expression.evaluate_range(found, space)

    if "error" not in case:
        assert [*map(hex, evaluated())] == [case["from"], case["to"]]
        return
    with pytest.raises(WrongWord) as raised:
        evaluated()
    assert case["error"] in str(raised.value)


def test_numbers_alone_ask_for_no_mappings() -> None:
    def names() -> list[str]:
        raise AssertionError("nobody asked for names")

    expression.parse("*(0x10+4)-1", names)


def test_a_sum_may_be_as_long_as_an_address() -> None:
    space = _Space()
    long = expression.parse("0x10" + "+2-1" * 1000, space.names)
    assert expression.evaluate(long, space) == 0x10 + 1000
    found = expression.parse_range("0x10" + "+1" * 2000, space.names)
    assert expression.evaluate_range(found, space) == (0x10 + 1999, 0x10 + 2000)


@given(st.text(max_size=40) | st.text("*()+-:[]0x19alib. ", max_size=40))
def test_any_text_is_an_address_or_a_wrong_word(text: str) -> None:
    space = _Space()
    for parse in (expression.parse, expression.parse_range):
        with contextlib.suppress(WrongWord):
            parse(text, space.names)
