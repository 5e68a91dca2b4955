"""Where values of TOML stand."""

from __future__ import annotations

import json
import tomllib
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from farpeek_api.policy.places import Places

KEYS = st.text("abc.\"' é", min_size=1, max_size=4)
SCALARS = st.integers() | st.booleans() | st.text(max_size=5)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)
FILES = st.dictionaries(KEYS, st.dictionaries(KEYS, VALUES, max_size=3), max_size=3)


def written(value: Any) -> str:  # noqa: ANN401 - whatever TOML has
    match value:
        case dict():
            inner = ", ".join(f"{json.dumps(key)} = {written(each)}" for key, each in value.items())
            return f"{{ {inner} }}"
        case list():
            return "[ # those\n" + "".join(f"  {written(each)},\n" for each in value) + "]"
        case _:
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


@given(FILES)
def test_every_value_is_found_where_it_stands(content: dict[str, Any]) -> None:
    lines: list[str] = []
    expected: dict[tuple[str, ...], int] = {}
    for table, members in content.items():
        lines.append(f"[{json.dumps(table)}] # a comment")
        expected[table,] = len(lines)
        for key, value in members.items():
            lines += f"{json.dumps(key)} = {written(value)}".split("\n")
            expected[table, key] = len(lines) - written(value).count("\n")
    text = "\n".join(lines)
    assert tomllib.loads(text) == content
    places = Places(text)
    for path, line in expected.items():
        assert places.of(path) == (line, 1)


def test_tables_in_arrays_are_told_apart() -> None:
    text = "a.b = 1\r\n[[c.d]]\nx = 1\n[[c.d]]\n  y = [1,\n 2]\n[c.d.e]\n[[c.d.f]]\nz = '''\n'''\n"
    places = Places(text)
    assert str(places.of(("a", "b"))) == "1:1"
    assert str(places.of(("c", "d", 0, "x"))) == "3:1"
    assert str(places.of(("c", "d", 1))) == "4:1"
    assert str(places.of(("c", "d", 1, "y", 1))) == "6:2"
    assert str(places.of(("c", "d", 1, "e"))) == "7:1"
    assert str(places.of(("c", "d", 1, "f", 0, "z"))) == "9:1"
    assert str(places.of(("c", "d", 1, "nothing", "inside"))) == "4:1"
