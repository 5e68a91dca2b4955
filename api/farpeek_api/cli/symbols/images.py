"""Which ELF files are mapped where, and the symbols of each: read when they are asked for."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from farpeek_api.cli import mapped
from farpeek_api.cli.symbols import dynamic, files
from farpeek_api.cli.symbols.elf import NoElf

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from farpeek_api.cli.symbols.dynamic import Reading, Regions
    from farpeek_api.cli.symbols.table import Symbol, Table
    from farpeek_api.client import MappedRegion, Target
    from farpeek_api.client.calls import Mode

_MOST_IMAGES: Final = 1024
_AT_ONCE: Final = 1 << 20
_MOST_REGIONS: Final = 512
"""Bytes and regions of a request, which a service with small limits takes too."""

_MOST_BYTES: Final = 256 << 20
"""Of all tables of a target, whatever its files say."""

_ADDRESS_LIMIT: Final = 1 << 64


@dataclass(eq=False, slots=True)
class Image:
    """A file that is mapped from its first byte on, up to ``end``; its .bss is behind that."""

    path: str
    first: MappedRegion
    end: int
    whole_end: int
    dynamic: Table | None = field(default=None, repr=False)
    static: Table | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """The last part of its path."""
        return self.path.rpartition("/")[2]

    @property
    def tables(self) -> Iterator[Table]:
        """What was read: the whole table first, where it could be had."""
        yield from (each for each in (self.static, self.dynamic) if each is not None)


def images(mappings: Iterable[MappedRegion]) -> list[Image]:
    """Find the files that may be ELF: those whose first byte is mapped, and can be read."""
    found: list[Image] = []
    for each in mappings:
        last = found[-1] if found else None
        path = mapped.path(each)
        is_file = path.startswith("/") or path == "[vdso]"
        if is_file and not each.offset and each.perms.startswith("r"):
            if len(found) == _MOST_IMAGES:
                break
            found.append(Image(path, each, each.end, each.end))
        elif last is not None and path == last.path and each.start >= last.end:
            last.end = last.whole_end = each.end
        elif last is not None and not path and each.start == last.whole_end:
            last.whole_end = each.end
    return found


class Symbols:
    """The symbols of a target.

    Every loaded file has a .dynsym in memory. Those of ``.symtab``, functions that are no other
    file's business, are only in the file: they are had where the caller may read that.
    """

    def __init__(
        self, target: Target, mappings: Sequence[MappedRegion], mode: Mode | None = None
    ) -> None:
        self._target = target
        self._mode: Mode | None = mode
        self.images = images(mappings)
        self._starts = [each.first.start for each in self.images]
        self._read_in_memory: set[Image] = set()
        self._read_in_file: set[Image] = set()
        self._left = _MOST_BYTES

    def image_at(self, address: int) -> Image | None:
        """Find the file whose code or data ``address`` is in."""
        number = bisect_right(self._starts, address) - 1
        found = self.images[number] if number >= 0 else None
        return found if found is not None and address < found.whole_end else None

    def at(self, address: int) -> tuple[Image, Symbol] | None:
        """Find the symbol that an address is in, and its file."""
        image = self.image_at(address)
        if image is None:
            return None
        for load in (self.load_static, self.load_dynamic):
            load([image])
            for table in image.tables:
                if symbol := table.at(address):
                    return image, symbol
        return None

    def find(self, name: str, among: Sequence[Image]) -> list[tuple[Image, int]]:
        """Find a symbol in some files: in what they show to others, else in what they keep."""
        self.load_dynamic(among)
        found = [(each, each.dynamic.by_name.get(name)) for each in among if each.dynamic]
        if all(address is None for _, address in found):
            self.load_static(among)
            found = [(each, each.static.by_name.get(name)) for each in among if each.static]
        return [(image, address) for image, address in found if address is not None]

    def names(self, among: Iterable[Image]) -> Iterator[str]:
        """Give all names that were read."""
        for each in among:
            for table in each.tables:
                yield from table.by_name

    def load_dynamic(self, wanted: Iterable[Image]) -> None:
        """Read the tables that are in memory, of several files together."""
        new = [each for each in wanted if each not in self._read_in_memory]
        self._read_in_memory.update(new)
        readings = {each: dynamic.read(each.first.start, each.end) for each in new}
        for image, table in self._together(readings):
            image.dynamic = table

    def load_static(self, wanted: Iterable[Image]) -> None:
        """Read the tables that are in the files."""
        for image in wanted:
            if image not in self._read_in_file:
                self._read_in_file.add(image)
                image.static = files.read(self._target.pid, image.first)

    def _together(self, readings: Mapping[Image, Reading]) -> Iterator[tuple[Image, Table]]:
        """Drive readings step by step, and read for all of them at once."""
        answers: dict[Image, Sequence[bytes]] = {}
        going = dict(readings)
        while going:
            asked: dict[Image, Regions] = {}
            for image, reading in [*going.items()]:
                try:
                    asked[image] = (
                        reading.send(answers[image]) if image in answers else next(reading)
                    )
                    self._admit(asked[image])
                except NoElf:
                    asked.pop(image, None)
                    del going[image]
                except StopIteration as end:
                    del going[image]
                    yield image, end.value
            answers = self._fetch(asked)

    def _admit(self, regions: Regions) -> None:
        """Refuse what is no place, and what is more than all may be. Raises NoElf."""
        for address, length in regions:
            if not 0 <= address <= _ADDRESS_LIMIT - length:
                raise NoElf("its addresses are none")
            self._left -= length
        if self._left < 0:
            raise NoElf("there is too much to read")

    def _fetch(self, asked: Mapping[Image, Regions]) -> dict[Image, Sequence[bytes]]:
        parts = [
            (image, number, (at, min(_AT_ONCE, address + length - at)))
            for image, regions in asked.items()
            for number, (address, length) in enumerate(regions)
            for at in range(address, address + length, _AT_ONCE)
        ]
        found = {image: [bytearray() for _ in regions] for image, regions in asked.items()}
        ended: set[tuple[Image, int]] = set()
        for batch in _batches(parts):
            result = self._target.readv([part for _, _, part in batch], mode=self._mode)
            first_gaps = {gap.region: gap.offset for gap in reversed(result.gaps)}
            for place, (image, number, _) in enumerate(batch):
                if (image, number) in ended:
                    continue
                data = result.region(place)
                if place in first_gaps:
                    data = data[: first_gaps[place]]
                    ended.add((image, number))
                found[image][number] += data
        return {image: [bytes(each) for each in parts] for image, parts in found.items()}


_Part = tuple[Image, int, tuple[int, int]]


def _batches(parts: Iterable[_Part]) -> Iterator[list[_Part]]:
    """Split what is read so that each request is one that the service takes."""
    batch: list[_Part] = []
    size = 0
    for part in parts:
        length = part[2][1]
        if batch and (size + length > _AT_ONCE or len(batch) == _MOST_REGIONS):
            yield batch
            batch, size = [], 0
        batch.append(part)
        size += length
    if batch:
        yield batch
