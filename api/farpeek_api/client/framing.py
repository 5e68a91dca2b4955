"""What is binary in answers: frames. Nothing here waits for anything."""

from __future__ import annotations

import struct
from typing import Final

from farpeek_api.client import members
from farpeek_api.client.members import Members, Odd
from farpeek_api.client.results import Gap, ReadResult

FRAME: Final = "application/vnd.farpeek.frame"
IOV: Final = "application/vnd.farpeek.iov"
ADDRESS_LIMIT: Final = 1 << 64
LENGTH: Final = struct.Struct(">I")


def pack_regions(regions: list[tuple[int, int]]) -> bytes:
    """Write regions as little-endian u64 pairs; ValueError for what is no address or length."""
    for address, length in regions:
        check_address(address)
        if not 0 <= length < ADDRESS_LIMIT:
            raise ValueError(f"{length!r} is no length: those are integers from 0 on")
    return struct.pack(f"<{2 * len(regions)}Q", *(number for pair in regions for number in pair))


def check_address(address: int) -> int:
    """Give an address back; ValueError for what is none."""
    if not 0 <= address < ADDRESS_LIMIT:
        raise ValueError(f"{address!r} is no address: those are integers from 0 up to 2**64 - 1")
    return address


def split_frame(body: bytes) -> tuple[Members, memoryview]:
    """Take a frame apart: its object, and the bytes behind it. Raises Odd for what is none."""
    text, data = cut_frame(body)
    return members.parse(text), data


def cut_frame(body: bytes) -> tuple[bytes, memoryview]:
    """Do the same, and leave the object as it came."""
    if len(body) < LENGTH.size:
        raise Odd("the answer is no frame: it is too short")
    (size,) = LENGTH.unpack_from(body)
    rest = memoryview(body)[LENGTH.size :]
    if size > len(rest):
        raise Odd("the answer is no frame: its object is longer than the frame")
    return bytes(rest[:size]), rest[size:]


def read_result(
    shown: Members, data: bytes, regions: list[tuple[int, int]], *, stops: bool
) -> ReadResult:
    """Put a read's object and bytes together. Raises Odd where they do not fit."""
    shown.need("target", "requested", "read", "gaps", "backend", "began_ns", "elapsed_us")
    result = ReadResult(
        target=shown.text("target"),
        regions=regions,
        data=data,
        requested=shown.number("requested"),
        read=shown.number("read"),
        gaps=[Gap.parse(each) for each in shown.objects("gaps")],
        backend=shown.texts("backend"),
        generation=shown.number_or_none("generation"),
        began_ns=shown.number("began_ns"),
        elapsed_us=shown.number("elapsed_us"),
        members=shown.all,
    )
    if result.requested != sum(length for _, length in regions):
        raise Odd("the answer has an odd `requested`: it is of another read")
    if len(data) != data_length(shown, stops=stops):
        raise Odd("the answer has other bytes than it says")
    if result.read > result.requested or (result.read < result.requested and result.complete):
        raise Odd("the answer has an odd `read`")
    if any(gap.region >= len(regions) for gap in result.gaps):
        raise Odd("the answer has an odd `gaps`")
    return result


def data_length(shown: Members, *, stops: bool) -> int:
    """How many bytes belong to a read's object."""
    return shown.number("read" if stops else "requested")
