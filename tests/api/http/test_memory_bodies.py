"""Numbers and strings of requests become the service's numbers, or are refused."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from farpeek.errors import TooLarge
from farpeek.model import ADDRESS_LIMIT, Mode, OnGap
from farpeek_api.http import memory_bodies
from strategies import addresses


def read_request(**members: object) -> memory_bodies.ReadRequest:
    return memory_bodies.ReadRequest.model_validate_json(json.dumps(members))


@st.composite
def spellings(draw: st.DrawFn) -> tuple[int, int | str]:
    """Draw an address, and one of the ways in which a client may write it."""
    address = draw(addresses)
    digits = draw(st.integers(1, 16))
    text = f"{address:0{digits}x}"
    text = draw(st.sampled_from([text, text.upper()]))
    prefix = draw(st.sampled_from(["0x", "0X"]))
    written: list[int | str] = [address, prefix + text]
    return address, draw(st.sampled_from(written))


@given(st.lists(spellings(), min_size=1, max_size=20))
def test_every_spelling_of_an_address_is_that_address(pairs: list[tuple[int, int | str]]) -> None:
    spec = read_request(addresses=[written for _, written in pairs], lengths=0).spec()
    assert list(spec.regions.addresses) == [address for address, _ in pairs]


@given(st.text(max_size=20))
def test_a_text_is_an_address_only_with_its_prefix_and_digits(text: str) -> None:
    digits = text[2:]
    is_one = (
        text[:2] in ("0x", "0X")
        and 1 <= len(digits) <= 16
        and all(each in "0123456789abcdefABCDEF" for each in digits)
    )
    try:
        spec = read_request(addresses=[text], lengths=0).spec()
    except ValidationError:
        assert not is_one
    else:
        assert is_one
        assert list(spec.regions.addresses) == [int(digits, 16)]


@given(st.integers())
def test_a_number_is_an_address_only_within_the_address_space(number: int) -> None:
    try:
        read_request(addresses=[number], lengths=0)
    except ValidationError:
        assert not 0 <= number < ADDRESS_LIMIT
    else:
        assert 0 <= number < ADDRESS_LIMIT


def test_one_length_stands_for_all() -> None:
    spec = read_request(addresses=[1, 2, 3], lengths=8).spec()
    assert list(spec.regions.lengths) == [8, 8, 8]


def test_defaults_are_those_of_the_contract() -> None:
    request = read_request(addresses=[1], lengths=[8])
    spec = request.spec()
    assert (spec.mode, spec.on_gap, request.encoding) == (Mode.WAIT, OnGap.CONTINUE, "base64")
    assert request.timeout_s is None


def test_only_the_first_bad_one_of_a_million_is_told() -> None:
    with pytest.raises(ValidationError) as caught:
        read_request(addresses=[-1] * 1_000_000, lengths=0)
    assert caught.value.error_count() == 1


def test_only_the_first_piece_that_is_no_text_is_told() -> None:
    body = {"addresses": [1], "data": [0] * 1000, "expect": [0] * 1000}
    with pytest.raises(ValidationError) as caught:
        memory_bodies.WriteRequest.model_validate_json(json.dumps(body))
    assert [each["loc"] for each in caught.value.errors()] == [("data", 0), ("expect", 0)]


def test_far_too_many_regions_are_refused_before_they_are_parsed() -> None:
    body = json.dumps({"addresses": [0] * 100_000, "lengths": 0}).encode()
    with pytest.raises(TooLarge):
        memory_bodies.check_columns(body, 65_536 // 2)
    memory_bodies.check_columns(body, 65_536)


@given(st.integers(1, 3000), st.booleans())
def test_as_many_regions_as_allowed_are_never_too_many(count: int, column: bool) -> None:  # noqa: FBT001 - hypothesis gives it
    zeros = [ADDRESS_LIMIT - 1] * count
    members = {
        "addresses": zeros,
        "lengths": zeros if column else 0,
        "mode": "wait",
        "on_gap": "stop",
        "encoding": "hex",
        "timeout_s": 1.5,
        "prefetch": False,
    }
    memory_bodies.check_columns(json.dumps(members).encode(), count)
