"""Claims are counted, and what they take has an end."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest

from farpeek.errors import TooBusy
from farpeek.targets import claims
from farpeek.targets.claims import Claims, Shares

if TYPE_CHECKING:
    from collections.abc import Mapping


class Match(NamedTuple):
    """A standing match, as far as claims go."""

    id: str
    client: str
    labels: Mapping[str, str] = {}


def test_the_labels_of_all_have_an_end_and_what_is_dropped_makes_room() -> None:
    count = Shares(8, most_label_bytes=10)
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
    held = Claims(Shares(8))
    for number in range(claims.MOST_CLIENTS):
        held.register(f"token {number}", None)
    held.register("token 0", {"a": "b"})
    with pytest.raises(TooBusy):
        held.register("one more", None)
    held.drop("token 1")
    held.register("one more", None)


def test_what_was_shown_does_not_change() -> None:
    held = Claims(Shares(8))
    held.register("a", {"k": "v"})
    shown = held.by_client
    held.register("a", {"k": "w"})
    held.drop("a")
    assert shown["a"].labels == {"k": "v"}


def test_running_targets_are_counted_for_each_client_however_it_holds_them() -> None:
    shares = Shares(2)
    one, two, three = Claims(shares), Claims(shares), Claims(shares)
    one.register("a", None)
    one.register("a", {"again": "is none more"})
    two.join(Match("m1", "a"))
    two.register("a", None)
    for _ in range(2):
        with pytest.raises(TooBusy, match="--max-client-targets"):
            three.register("a", {"k": "v"})
        with pytest.raises(TooBusy, match="--max-client-targets"):
            three.join(Match("m2", "a"))
    assert not three
    assert shares.used == len("againis none more")
    three.register("b", None)
    two.drop("a")  # the match holds it
    with pytest.raises(TooBusy):
        three.register("a", None)
    one.count_no_more()  # it has exited
    three.register("a", None)
    one.drop("a")
    one.register("a", None)
    for each in (one, two, three):
        each.clear()
    for number in range(2):  # nothing is counted that is not there
        Claims(shares).register("a", {"n": str(number)})
