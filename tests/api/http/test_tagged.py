"""Addresses with a tag in their highest byte: every route takes them, and answers with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support import tagged
from support.sample import Sample
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.wire import Served


@pytest.fixture(scope="module")
def ignoring_tags() -> Iterator[Served]:
    with tagged.service("--allow-writes") as started:
        yield started


@pytest.fixture
def small() -> Iterator[Sample]:
    with Sample() as process:
        yield process


@pytest.mark.parametrize("tag", tagged.TAGS, ids=hex)
@pytest.mark.parametrize("route", tagged.ROUTES, ids=lambda route: route.__name__)
def test_a_tag_goes_over_every_route_and_comes_back(
    ignoring_tags: Served, small: Sample, route: Callable[[tagged.Place], None], tag: int
) -> None:
    target = ignoring_tags.register(small.pid)
    route(tagged.Place(ignoring_tags, target, small, tag))
    until(lambda: not _busy(ignoring_tags), "no thread goes on by itself")


def _busy(served: Served) -> int:
    return int(served.request("GET", "/v1/info").json["threads"]["busy"])


@pytest.mark.skipif(tagged.IGNORED_HERE, reason="the processor ignores the tag")
def test_elsewhere_such_an_address_is_nobodys(served: Served, target: str, sample: Sample) -> None:
    for mode in ("wait", "nowait"):
        shown = served.read(target, sample.address | 0x5A << 56, 8, mode=mode).json
        assert [each["reason"] for each in shown["gaps"]] == ["unmapped"]


def test_a_range_of_all_addresses_is_no_round_trip(ignoring_tags: Served, small: Sample) -> None:
    """What is above the user's half is nobody's, and not the same memory once more."""
    target = ignoring_tags.register(small.pid)
    reply = ignoring_tags.request(
        "POST",
        f"/v1/targets/{target}/memory",
        {"ranges": [[hex(1 << 55), hex(2**64 - 1)]], "mode": "nowait"},
    )
    pieces, done = tagged.take_apart(reply.body)
    assert done is not None
    assert {each.kind for each in pieces} == {"gap"}
