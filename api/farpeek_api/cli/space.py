"""A target's address space, as ADDRESS expressions know it: its mappings, and its memory."""

from __future__ import annotations

import re
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING

from farpeek_api.cli.errors import WrongWord
from farpeek_api.cli.mapped import names, path
from farpeek_api.cli.words import expression
from farpeek_api.cli.words.nearest import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from farpeek_api.cli.symbols.images import Image, Symbols
    from farpeek_api.client import Target
    from farpeek_api.client.calls import Mode
    from farpeek_api.client.results import MappedRegion


class Space:
    """What is asked for is asked once: the mappings only where an expression has a name in it."""

    def __init__(self, target: Target, mode: Mode | None = None) -> None:
        self.target = target
        self._mode: Mode | None = mode

    def address(self, word: str) -> int:
        """Find what an ADDRESS means. Raises WrongWord, and IncompleteRead for a pointer."""
        return expression.evaluate(expression.parse(word, lambda: self.named), self)

    def range(self, word: str) -> tuple[int, int]:
        """Find where a RANGE begins and ends. Raises WrongWord, IncompleteRead."""
        return expression.evaluate_range(expression.parse_range(word, lambda: self.named), self)

    @cached_property
    def mappings(self) -> Sequence[MappedRegion]:
        """All of them, by address."""
        return self.target.maps()

    @cached_property
    def named(self) -> Mapping[str, Sequence[MappedRegion]]:
        """The mappings by their names: whole paths, and the last parts of paths."""
        found: dict[str, list[MappedRegion]] = {}
        for each in self.mappings:
            for name in names(each):
                found.setdefault(name, []).append(each)
        return found

    def base(self, name: str) -> int:
        """Where the first mapping of that name begins."""
        first, *others = self.named[name]
        paths = sorted({path(each) for each in (first, *others)})
        if len(paths) > 1:
            raise WrongWord(f"{name!r} is the name of several files: write the whole path", paths)
        return first.start

    @cached_property
    def symbols(self) -> Symbols:
        """The symbols of its files."""
        from farpeek_api.cli.symbols.images import Symbols  # noqa: PLC0415 - where they are used

        return Symbols(self.target, self.mappings, self._mode)

    def symbol(self, name: str, file: str | None) -> int:
        """Where a symbol is: in the file that is named, else in the program, else in one file."""
        among = self._images(file)
        program = [each for each in among if each.path == self.target.info.process.exe]
        found = self.symbols.find(name, program) or self.symbols.find(name, among)
        if not found:
            raise WrongWord(self._no_symbol(name, file, among))
        if len(found) > 1:
            words = [f"{image.name}:{name}" for image, _ in found]
            raise WrongWord(f"{name!r} is in several files: say which one you mean", words)
        return found[0][1]

    def _images(self, file: str | None) -> Sequence[Image]:
        if file is None:
            return self.symbols.images
        starts = {each.start for each in self.named[file]}
        return [each for each in self.symbols.images if each.first.start in starts]

    def _no_symbol(self, name: str, file: str | None, among: Sequence[Image]) -> str:
        if file is not None:
            cure = did_you_mean(name, self.symbols.names(among))
            return f"{file} has no symbol {name!r}{cure}"
        if re.fullmatch("[0-9a-fA-F]+", name):
            return f"nothing in the target is called {name!r}: an address begins with 0x"
        words = chain(self.named, self.symbols.names(among))
        return f"nothing in the target is called {name!r}{did_you_mean(name, words)}"

    def pointer(self, address: int) -> int:
        """Read a pointer. Raises IncompleteRead."""
        return self.target.pointer(address, mode=self._mode)
