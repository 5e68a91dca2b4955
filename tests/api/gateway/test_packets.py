"""Packets, however they are cut, and whatever is in them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farpeek_api.gateway import packets
from farpeek_api.gateway.packets import Packet, PacketParser, TooLong

CUTS = st.lists(st.integers(1, 40), max_size=20)


def _cut(data: bytes, cuts: list[int]) -> list[bytes]:
    parts: list[bytes] = []
    for length in cuts:
        parts.append(data[:length])
        data = data[length:]
    return [*parts, data]


@given(st.binary())
def test_what_is_escaped_is_what_it_was_and_has_no_special_bytes(data: bytes) -> None:
    text = packets.escape(data)
    assert packets.unescape(text) == data
    assert not {*b"$#*"} & {*text}
    assert len(text) <= 2 * len(data)


@given(st.lists(st.binary(max_size=60), max_size=6), CUTS)
def test_packets_come_out_as_they_went_in_however_they_are_cut(
    payloads: list[bytes], cuts: list[int]
) -> None:
    sent = b"".join(packets.packet(packets.escape(each)) for each in payloads)
    parser = PacketParser()
    items = [item for part in _cut(sent, cuts) for item in parser.feed(part)]
    assert [
        packets.unescape(each.payload) for each in items if isinstance(each, Packet)
    ] == payloads
    assert len(items) == len(payloads)


@given(st.lists(st.binary(max_size=50)), CUTS)
def test_whatever_comes_a_packet_behind_it_is_understood(
    parts: list[bytes], cuts: list[int]
) -> None:
    parser = PacketParser()
    for part in _cut(b"".join(parts), cuts):
        parser.feed(part)
    # At most one packet was begun, which this one ends, or gives up.
    items = parser.feed(b"#00" + packets.packet(b"qC"))
    assert items[-1] == Packet(b"qC")


def test_signs_and_damage_are_told() -> None:
    assert PacketParser().feed(b"+-\x03$qC#00$qC#b4zz") == [
        "+",
        "-",
        "break",
        "damaged",
        Packet(b"qC"),
    ]
    assert PacketParser().feed(b"$qSuppor$qC#B4") == [Packet(b"qC")]


def test_a_packet_without_an_end_is_refused() -> None:
    parser = PacketParser()
    assert parser.feed(b"$" + bytes(packets.MOST)) == []
    with pytest.raises(TooLong, match="131072"):
        parser.feed(bytes(10))


@pytest.mark.parametrize("text", [b"", b"-1", b"0x1", b"1_0", b" 1", b"f" * 17, b"g"])
def test_what_is_no_number_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match="64 bits"):
        packets.number(text)
    assert packets.numbers(b"ffffffffffffffff,a") == [2**64 - 1, 10]
