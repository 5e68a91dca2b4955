"""Parameters become the service's values, or are refused."""

from __future__ import annotations

import pytest

from farpeek.errors import InvalidRequest
from farpeek_api.http import queries


@pytest.mark.parametrize("text", ["-1", "1.0", "abc", "\u0661", "1" * 30])
def test_what_is_no_event_number_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest):
        queries.parse_event_number(text)


def test_no_event_number_is_none() -> None:
    assert queries.parse_event_number(None) is None
    assert queries.parse_event_number("") is None
    assert queries.parse_event_number("0012") == 12
