"""Standing matches by the client."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from farpeek_api.client import NoSuchMatch
from support import targets
from support.waiting import until

if TYPE_CHECKING:
    from farpeek_api.client import Client


def test_a_standing_match_holds_what_fits_now_and_later(peek: Client) -> None:
    with targets.start("plain", "--name", "standing") as one:
        match = peek.hold(comm="standing", labels={"k": "v"}, limit=5)
        try:
            assert (match.held, match.refused, match.limit) == (1, 0, 5)
            assert match.match["comm"] == "standing"
            assert match.id in [each.id for each in peek.matches()]
            with targets.start("plain", "--name", "standing") as other:
                until(lambda: len(peek.match(match).targets or ()) == 2, "the other is held too")
                held = peek.targets(label="k=v")
                assert {each.pid for each in held} == {one.pid, other.pid}
        finally:
            peek.drop(match)
        with pytest.raises(NoSuchMatch):
            peek.match(match.id)
