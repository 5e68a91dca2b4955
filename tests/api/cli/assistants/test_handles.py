"""Results that are kept: as many, as long and as large as may be, and no more."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farpeek_api.cli.assistants import handles
from farpeek_api.cli.assistants.handles import Found, NoSuchPage, Results
from farpeek_api.cli.assistants.untrusted import escaped, quoted, untrusted


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def rows(count: int, size: int = 10) -> list[dict[str, object]]:
    return [{"n": n, "text": "x" * size} for n in range(count)]


def first(results: Results, found: Found) -> Any:  # noqa: ANN401 - JSON
    return json.loads(results.first_page(found))


@given(st.lists(st.integers(0, 2 * handles.PAGE_BYTES), max_size=20))
def test_pages_have_every_row_once_and_none_is_too_large(sizes: list[int]) -> None:
    results = Results(60)
    text = results.first_page(Found({}, [{"text": "x" * size} for size in sizes]))
    seen = 0
    while True:
        answer = json.loads(text)
        assert answer["first_row"] == seen
        assert len(text) <= handles.PAGE_BYTES + 1000
        seen += len(answer["rows"])
        if answer.get("next_row") is None:
            break
        text = results.page(answer["result"], answer["next_row"])
    assert seen == len(sizes)


def test_a_result_of_one_page_is_not_kept() -> None:
    answer = first(Results(60), Found({"a": 1}, rows(handles.PAGE_ROWS)))
    assert "result" not in answer
    assert (answer["a"], len(answer["rows"])) == (1, handles.PAGE_ROWS)


def test_results_end_when_their_time_is_over() -> None:
    clock = Clock()
    results = Results(60, clock)
    kept = first(results, Found({}, rows(101)))["result"]
    clock.now = 59.9
    assert json.loads(results.page(kept, 100))["rows"] == rows(101)[100:]
    clock.now = 60
    with pytest.raises(NoSuchPage):
        results.page(kept, 100)


def test_the_oldest_makes_room() -> None:
    results = Results(60)
    kept = [first(results, Found({}, rows(101)))["result"] for _ in range(handles.MOST_RESULTS + 1)]
    with pytest.raises(NoSuchPage):
        results.page(kept[0], 0)
    for each in kept[1:]:
        results.page(each, 0)


def test_all_results_together_have_a_size() -> None:
    results = Results(60)
    large = Found({}, rows(200, 60_000))
    one, other = first(results, large)["result"], first(results, large)["result"]
    with pytest.raises(NoSuchPage):
        results.page(one, 0)
    results.page(other, 0)
    too_large = first(results, Found({}, rows(300, 60_000)))
    assert (too_large["result"], too_large["next_row"]) == (None, None)


def test_a_result_of_too_many_rows_says_how_many_are_missing() -> None:
    answer = first(Results(60), Found({}, rows(handles.MOST_ROWS + 7)))
    assert (answer["row_count"], answer["left_out"]) == (handles.MOST_ROWS, 7)


@pytest.mark.parametrize("start", [-1, 101])
def test_a_row_that_is_none_is_refused(start: int) -> None:
    results = Results(60)
    kept = first(results, Found({}, rows(101)))["result"]
    with pytest.raises(NoSuchPage, match="0 to 100"):
        results.page(kept, start)


@given(st.text())
def test_escaped_text_is_ascii_and_stands_for_one_text_only(text: str) -> None:
    shown = escaped(text)
    assert shown.isascii()
    assert shown.isprintable()
    assert shown.encode().decode("unicode_escape") == text


@given(st.text(min_size=100) | st.binary(max_size=2000))
def test_a_text_that_is_cut_is_cut_between_signs(text: str | bytes) -> None:
    marked = untrusted(text)
    assert marked is not None
    shown = str(marked["untrusted_text"])
    assert len(shown) <= 1024
    original = text.decode("latin-1") if isinstance(text, bytes) else text
    assert original.startswith(shown.encode().decode("unicode_escape"))
    assert ("cut" in marked) == (len(escaped(text)) > 1024)


@given(st.text(alphabet=st.characters() | st.just('"') | st.just("\\")))
def test_a_quoted_name_cannot_end_its_quotes(text: str) -> None:
    shown = quoted(text)
    assert shown.isascii()
    assert shown.isprintable()
    assert shown[0] == shown[-1] == '"'
    assert '"' not in shown[1:-1]
    assert len(shown) <= 202
