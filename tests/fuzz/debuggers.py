"""What debuggers send to a gateway, and what a core says of itself."""

from __future__ import annotations

import io
from contextlib import suppress
from itertools import pairwise

from farpeek_api.client.cores import last_note
from farpeek_api.client.members import Odd
from farpeek_api.gateway import packets
from farpeek_api.gateway.packets import Packet, PacketParser, TooLong
from fuzz.choices import Choices


def packets_in(data: bytes) -> None:
    """A debugger is understood the same however what it sends is cut."""
    choices = Choices(data)
    cut = [choices.number(64) for _ in range(3)]
    sent = choices.rest()
    ends = [0, *sorted(cut), len(sent)]
    whole = _fed([sent])
    assert whole == _fed([sent[start:end] for start, end in pairwise(ends)])
    for item in whole:
        if isinstance(item, Packet):
            assert b"#" not in item.payload
            with suppress(ValueError):
                assert all(0 <= each < 1 << 64 for each in packets.numbers(item.payload))


def packets_out(data: bytes) -> None:
    """Bytes come out of a packet as they went into it."""
    (item,) = _fed([packets.packet(packets.escape(data))])
    assert isinstance(item, Packet)
    assert packets.unescape(item.payload) == data


def _fed(parts: list[bytes]) -> list[object]:
    parser = PacketParser()
    found: list[object] = []
    for part in parts:
        try:
            found += parser.feed(part)
        except TooLong:
            return [*found, "too long"]
    return found


def core_notes(data: bytes) -> None:
    """A file is a core that tells of itself, or it is said to be none."""
    with suppress(Odd):
        core = last_note(io.BytesIO(data), len(data))
        assert core.size == len(data)
        assert all(gap.length >= 0 for gap in core.gaps)
