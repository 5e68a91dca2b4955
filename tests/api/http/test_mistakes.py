"""Places of mistakes are written as whoever reads them would."""

from __future__ import annotations

import pytest

from farpeek_api.http import mistakes


@pytest.mark.parametrize(
    ("place", "name"),
    [
        (("addresses", 3), "addresses[3]"),
        (("match", "uid"), "match.uid"),
        (("x" * 100,), "x" * 64),
        ((), ""),
    ],
)
def test_a_place_is_written_as_in_javascript(place: tuple[int | str, ...], name: str) -> None:
    assert mistakes.place_name(place) == name
