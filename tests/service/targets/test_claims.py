"""Claims are counted, and what they take has an end."""

from __future__ import annotations

import pytest

from farpeek.errors import TooBusy
from farpeek.targets import claims
from farpeek.targets.claims import Claims, LabelBytes


def test_the_labels_of_all_have_an_end_and_what_is_dropped_makes_room() -> None:
    count = LabelBytes(most=10)
    one, two = Claims(count), Claims(count)
    one.register("a", {"k": "vvvv"})
    two.register("a", {"k": "vvv"})
    assert count.used == 9
    with pytest.raises(TooBusy):
        one.register("b", {"k": "v"})
    assert "b" not in one.by_client
    one.register("a", {"k": ""})
    one.register("b", {"k": "v"})
    assert count.used == 7
    one.drop("a")
    one.clear()
    two.clear()
    assert count.used == 0
    assert not one


def test_so_many_clients_may_claim_a_target() -> None:
    held = Claims(LabelBytes())
    for number in range(claims.MOST_CLIENTS):
        held.register(f"token {number}", None)
    held.register("token 0", {"a": "b"})
    with pytest.raises(TooBusy):
        held.register("one more", None)
    held.drop("token 1")
    held.register("one more", None)


def test_what_was_shown_does_not_change() -> None:
    held = Claims(LabelBytes())
    held.register("a", {"k": "v"})
    shown = held.by_client
    held.register("a", {"k": "w"})
    held.drop("a")
    assert shown["a"].labels == {"k": "v"}
