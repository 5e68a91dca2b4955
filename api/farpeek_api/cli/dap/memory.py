"""Memory as editors read it, and what they look at: told when it has changed."""

from __future__ import annotations

import binascii
import re
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple

from farpeek_api.cli.errors import WrongWord
from farpeek_api.cli.show.reasons import explained
from farpeek_api.cli.words.amounts import ADDRESS_LIMIT
from farpeek_api.client.problems import PeekError

if TYPE_CHECKING:
    from farpeek_api.cli.dap.framing import Channel
    from farpeek_api.client import Client, ReadResult, Stream, Subscription, Target

MOST_READ: Final = 1 << 20
"""Bytes of an answer; the next request goes on."""

MOST_WATCHED: Final = 16
LONGEST_WATCHED: Final = 4096


class Looked(NamedTuple):
    """A range that an editor looks at, in the words that it has used."""

    reference: str
    offset: int
    address: int
    length: int


def address_of(reference: str, offset: int) -> int:
    """Find where a memory reference is. Raises WrongWord."""
    if re.fullmatch(r"0x[0-9a-fA-F]{1,16}", reference) is None:
        raise WrongWord("`memoryReference` is none that was given out: it is like 0x7f04")
    address = int(reference, 16) + offset
    if not 0 <= address < ADDRESS_LIMIT:
        raise WrongWord("`offset` leads out of all addresses")
    return address


def read(target: Target, address: int, count: int) -> dict[str, object]:
    """Read what can be read from there on, up to the first gap, and say how long that is.

    A ``count`` of 0 is how editors ask whether there is memory at all; WrongWord if there is none.
    """
    length = min(max(count, 1), MOST_READ, ADDRESS_LIMIT - address)
    result = target.readv([(address, length)])
    gap = min(result.gaps, key=lambda each: each.offset) if result.gaps else None
    if not count and gap is not None:
        raise WrongWord(f"{address:#x} cannot be read: {explained(gap.reason)}")
    data = result.data[: count if gap is None else gap.offset]
    return {
        "address": hex(address),
        "data": binascii.b2a_base64(data, newline=False).decode(),
        "unreadableBytes": 0 if gap is None else gap.length,
    }


class Watch:
    """Subscribes to what an editor has read last, and tells it of changes."""

    def __init__(self, peek: Client, target: Target, channel: Channel, hz: float) -> None:
        self._peek = peek
        self._target = target
        self._channel = channel
        self._hz = hz
        self._looked: dict[tuple[int, int], Looked] = {}
        self._stream: Stream | None = None
        self._subscription: Subscription | None = None

    def look(self, looked: Looked) -> None:
        """Tell of changes there from now on; what was looked at longest ago makes room."""
        looked = looked._replace(length=min(looked.length, LONGEST_WATCHED))
        key = looked.address, looked.length
        if key in self._looked or not looked.length:
            return
        self._looked[key] = looked
        if len(self._looked) > MOST_WATCHED:
            del self._looked[next(iter(self._looked))]
        self._subscribe(list(self._looked.values()))

    def close(self) -> None:
        """Tell of nothing more."""
        if self._stream is not None:
            self._stream.close()

    def _subscribe(self, all_looked: list[Looked]) -> None:
        if self._stream is None:
            self._stream = self._peek.stream()
            self._stream.__enter__()
        if self._subscription is not None:
            self._subscription.close()
        regions = [(each.address, each.length) for each in all_looked]
        self._subscription = self._stream.subscribe(
            self._target, regions, hz=self._hz, mode="nowait", changed_only=True
        )
        threading.Thread(
            target=self._tell, args=(self._subscription, all_looked), daemon=True
        ).start()

    def _tell(self, ticks: Subscription, all_looked: list[Looked]) -> None:
        before: ReadResult | None = None
        # Its end, or the client's, is told elsewhere.
        with suppress(PeekError, OSError, ValueError):
            for tick in ticks:
                if before is not None:
                    self._tell_changes(before, tick.result, all_looked)
                before = tick.result

    def _tell_changes(self, before: ReadResult, now: ReadResult, looked: list[Looked]) -> None:
        for number, each in enumerate(looked):
            if before.region(number) != now.region(number):
                where = {"memoryReference": each.reference, "offset": each.offset}
                self._channel.event("memory", {**where, "count": each.length})
