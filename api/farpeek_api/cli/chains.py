"""Pointers that lead to pointers: followed together, one request for each step."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from farpeek_api.cli.show import values

if TYPE_CHECKING:
    from collections.abc import Sequence

    from farpeek_api.cli.places import Place, Places
    from farpeek_api.client import Gap, Target
    from farpeek_api.client.calls import Mode

_LONGEST: Final = 6
_TEXT: Final = 64
"""Bytes of a text that are looked at."""

_SHORTEST_TEXT: Final = 4
_PRINTABLE: Final = frozenset(range(0x20, 0x7F)) | {0x09, 0x0A, 0x0D}


@dataclass(frozen=True, slots=True)
class Link:
    """A value that was read, and the place that it is the address of, if it is one."""

    value: int
    place: Place | None


@dataclass(slots=True)
class Chain:
    """What is at ``address``, where that leads, and so on: up to a value that is no address.

    Or up to an ``end`` of another kind: a text, a loop, or a gap; ``what`` is the text, or the
    gap's reason.
    """

    address: int
    links: list[Link] = field(default_factory=list["Link"])
    end: Literal["text", "loop", "gap"] | None = None
    what: str = ""

    @property
    def missing(self) -> bool:
        """Whether not even what is at ``address`` could be read."""
        return not self.links

    def json(self) -> dict[str, object]:
        """Show it to programs."""
        links = [
            {
                "value": hex(link.value),
                "kind": None if link.place is None else link.place.kind.value,
                "name": None if link.place is None else link.place.name,
            }
            for link in self.links
        ]
        shown: dict[str, object] = {"address": hex(self.address), "links": links, "end": self.end}
        if self.end in ("text", "gap"):
            shown["text" if self.end == "text" else "reason"] = self.what
        return shown


def follow(
    target: Target, places: Places, address: int, count: int, mode: Mode | None
) -> Sequence[Chain]:
    """Follow ``count`` pointers that lie one behind the other."""
    return _Following(target, places, mode).follow(address, count)


class _Following:
    def __init__(self, target: Target, places: Places, mode: Mode | None) -> None:
        self._target = target
        self._places = places
        self._mode: Mode | None = mode
        self._layout = values.layout("pointer", target.info.byte_order, target.info.pointer_size)

    def follow(self, address: int, count: int) -> Sequence[Chain]:
        size = self._layout.size
        chains = [Chain(address + number * size) for number in range(count)]
        data, gaps = self._read([(each.address, size) for each in chains])
        for chain, value, gap in zip(chains, data, gaps, strict=True):
            if gap is None:
                self._add(chain, *self._layout.unpack(value))
            else:
                chain.end, chain.what = "gap", gap.reason
        for _ in range(_LONGEST):
            self._step([each for each in chains if each.end is None and each.links[-1].place])
        return chains

    def _step(self, chains: Sequence[Chain]) -> None:
        """Look at what the last links point to."""
        data, gaps = self._read([(each.links[-1].value, _TEXT) for each in chains])
        for chain, value, gap in zip(chains, data, gaps, strict=True):
            self._take(chain, value if gap is None else value[: gap.offset], gap)

    def _take(self, chain: Chain, data: bytes, gap: Gap | None) -> None:
        text = _text(data)
        if text is not None:
            chain.end, chain.what = "text", text
        elif len(data) >= self._layout.size:
            self._add(chain, *self._layout.unpack_from(data))
        elif gap is not None:
            chain.end, chain.what = "gap", gap.reason

    def _add(self, chain: Chain, value: int) -> None:
        where = self._target.info.untagged
        seen = {where(chain.address), *(where(link.value) for link in chain.links)}
        chain.links.append(Link(value, self._places.at(value)))
        if where(value) in seen:
            chain.end = "loop"

    def _read(
        self, regions: Sequence[tuple[int, int]]
    ) -> tuple[Sequence[bytes], Sequence[Gap | None]]:
        """Read regions; the bytes of each, and its first gap."""
        if not regions:
            return [], []
        result = self._target.readv(regions, mode=self._mode)
        first: dict[int, Gap] = {gap.region: gap for gap in reversed(result.gaps)}
        numbers = range(len(regions))
        return [result.region(number) for number in numbers], [first.get(n) for n in numbers]


def _text(data: bytes) -> str | None:
    """Give the text that is there, if it looks like one: up to its NUL, or as far as was looked."""
    text, nul, _ = data.partition(b"\0")
    if len(text) < _SHORTEST_TEXT or not set(text) <= _PRINTABLE:
        return None
    return text.decode("ascii") + ("" if nul else "...")
