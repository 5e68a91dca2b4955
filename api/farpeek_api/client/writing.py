"""Writing: what is asked, and what it gave."""

from __future__ import annotations

import binascii
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from farpeek_api.client import calls
from farpeek_api.client.framing import check_address
from farpeek_api.client.members import Odd
from farpeek_api.client.results import Gap

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from farpeek_api.client.members import Members
    from farpeek_api.client.steps import Call


@dataclass(frozen=True, slots=True)
class WriteResult:
    """What a write did: ``written`` of ``requested`` bytes; ``gaps`` name the others.

    ``before`` has the bytes that were there, laid out as the regions are one behind the other.
    ``verified`` says whether the new ones were there afterwards. A rehearsal writes nothing, and
    ``would_write`` says how many bytes it would be.
    """

    target: str
    requested: int
    written: int
    verified: bool
    before: bytes = field(repr=False)
    gaps: Sequence[Gap]
    would_write: int | None
    members: Mapping[str, object] = field(repr=False)

    @property
    def complete(self) -> bool:
        """Whether every byte was written, or would be."""
        return not self.gaps

    @classmethod
    def parse(cls, shown: Members) -> WriteResult:
        """Take it from an answer."""
        try:
            before = binascii.a2b_base64(shown.text("before"), strict_mode=True)
        except ValueError:
            raise Odd("the answer has an odd `before`") from None
        return cls(
            shown.text("target"),
            shown.number("requested"),
            shown.number("written"),
            shown.all.get("verified") is True,
            before,
            [Gap.parse(each) for each in shown.objects("gaps")],
            shown.number_or_none("would_write"),
            shown.all,
        )


def writev(
    target_id: str,
    regions: Sequence[tuple[int, bytes]],
    expect: Sequence[bytes] | None,
    options: Mapping[str, object],
) -> Call[WriteResult]:
    """``POST /v1/targets/{id}/writev``."""
    body = {
        **options,
        "addresses": [check_address(address) for address, _ in regions],
        "data": [_base64(data) for _, data in regions],
        "expect": None if expect is None else [_base64(each) for each in expect],
    }
    shown = yield from calls.post(calls.target_path(target_id, "/writev"), body)
    with calls.answer_of_a_farpeek():
        return WriteResult.parse(shown)


def _base64(data: bytes) -> str:
    return binascii.b2a_base64(data, newline=False).decode()
