"""What a dump is of: RANGEs and the names of mappings."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from farpeek_api.cli.errors import WrongWord
from farpeek_api.cli.words.nearest import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from farpeek_api.cli.space import Space
    from farpeek_api.client import MappedRegion

_OF_NOBODY: Final = ("[vvar]", "[vvar_vclock]", "[vsyscall]")
"""The kernel's own: nobody reads them through the target."""


def ranges_of(space: Space, words: Sequence[str]) -> list[tuple[int, int]]:
    """Find what words mean, in the order of addresses; without any, all that can be read.

    Raises WrongWord, and IncompleteRead for a pointer.
    """
    if not words:
        return merged(_readable(space.mappings))
    return merged(each for word in words for each in _of_word(space, word))


def _of_word(space: Space, word: str) -> list[tuple[int, int]]:
    if not re.search(r"[-+]", word) or word in space.named:
        return _mapped(space, word)
    return [space.range(word)]


def _mapped(space: Space, name: str) -> list[tuple[int, int]]:
    """Give the mappings of a file, or of what is called like that."""
    found = space.named.get(name)
    if found is None:
        cure = did_you_mean(name, space.named) or ": `farpeek maps` lists what is"
        raise WrongWord(f"nothing that is mapped is called {name!r}{cure}, or write FROM-TO")
    space.base(name)  # it refuses a name that several files have
    return _readable(found)


def _readable(mappings: Iterable[MappedRegion]) -> list[tuple[int, int]]:
    """Leave out what is closed to everybody."""
    return [
        (each.start, each.end)
        for each in mappings
        if each.perms.startswith("r") and each.path not in _OF_NOBODY
    ]


def merged(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Put ranges in order, and those together that touch."""
    found: list[tuple[int, int]] = []
    for start, end in sorted(ranges):
        if found and start <= found[-1][1]:
            found[-1] = found[-1][0], max(end, found[-1][1])
        else:
            found.append((start, end))
    return found
