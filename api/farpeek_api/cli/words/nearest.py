"""The right word that is nearest to a wrong one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

_MOST_COMPARED: Final = 20_000
"""Words of a target's, like the names of its symbols, can be hundreds of thousands."""

_LONGEST: Final = 256


def nearest(word: str, words: Iterable[str]) -> str | None:
    """Find the word that is most like ``word``, if any is."""
    import difflib  # noqa: PLC0415 - for mistakes alone

    if len(word) > _LONGEST:
        return None
    letters = set(word.casefold())
    folded: dict[str, str] = {}
    for each in words:
        # Cheap signs first; to compare two words takes 20 us.
        if abs(len(each) - len(word)) > len(word) // 3 + 2:
            continue
        other = each.casefold()
        if 2 * len(letters & set(other)) >= len(letters):
            folded.setdefault(other, each)
            if len(folded) >= _MOST_COMPARED:
                break
    found = difflib.get_close_matches(word.casefold(), folded, n=1)
    return folded[found[0]] if found else None


def did_you_mean(word: str, words: Iterable[str]) -> str:
    """Say which word may be meant: the end of a message, empty where none is near."""
    found = nearest(word, words)
    return f": did you mean {found}?" if found else ""
