"""Where in a TOML file each of its values stands, which tomllib tells of broken ones alone.

The text has been read by tomllib before, so all that is looked for here are the ends of keys and
values.
"""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_right
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

Path = tuple[str | int, ...]

_BLANK: Final = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_SPACES: Final = re.compile(r"[ \t]*")
_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")
_STRING: Final = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}|\'\'\'.*?\'{3,5}|"(?:\\.|[^"\\])*"|\'[^\']*\'', re.DOTALL
)
_SCALAR: Final = re.compile(r"[^,\]}#\n]*")


class Place(NamedTuple):
    """A line and a column, both from 1 on."""

    line: int
    column: int

    def __str__(self) -> str:
        """``12:5``, as compilers write it."""
        return f"{self.line}:{self.column}"


class Places:
    """The places of all keys, tables and items of a text that is TOML."""

    def __init__(self, text: str) -> None:
        text = text.replace("\r\n", "\n")
        self._lines = [0, *(found.end() for found in re.finditer("\n", text))]
        self._offsets = _Scanner(text).offsets()

    def of(self, path: Path) -> Place:
        """Where the value of that path stands, or the nearest one around it."""
        while path and path not in self._offsets:
            path = path[:-1]
        return self._place(self._offsets.get(path, 0))

    def _place(self, offset: int) -> Place:
        line = bisect_right(self._lines, offset)
        return Place(line, offset - self._lines[line - 1] + 1)


class _Scanner:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._offsets: dict[Path, int] = {}
        self._counts: dict[Path, int] = {}  # of tables in arrays of them

    def offsets(self) -> Mapping[Path, int]:
        table: Path = ()
        while self._skip(_BLANK) < len(self._text):
            if self._text[self._at] == "[":
                table = self._header()
            else:
                self._pair(table)
        return self._offsets

    def _header(self) -> Path:
        begin = self._at
        is_array = self._text.startswith("[[", begin)
        self._at += 1 + is_array
        keys = self._keys()
        self._at += 1 + is_array
        path: Path = ()
        for key in keys:
            path = (*path, key)
            if is_array and len(path) >= len(keys) and self._is_end(path, keys):
                break
            if path in self._counts:
                path = (*path, self._counts[path] - 1)
        if is_array:
            number = self._counts.get(path, 0)
            self._counts[path] = number + 1
            self._offsets.setdefault(path, begin)
            path = (*path, number)
        self._offsets.setdefault(path, begin)
        return path

    @staticmethod
    def _is_end(path: Path, keys: list[str]) -> bool:
        return [each for each in path if isinstance(each, str)] == keys

    def _pair(self, table: Path) -> None:
        begin = self._at
        path = table
        for key in self._keys():
            path = (*path, key)
            self._offsets.setdefault(path, begin)
        self._at += 1  # the equals sign
        self._skip(_SPACES)
        self._value(path)

    def _keys(self) -> list[str]:
        keys: list[str] = []
        while True:
            self._skip(_SPACES)
            keys.append(self._key())
            self._skip(_SPACES)
            if self._text[self._at] != ".":
                return keys
            self._at += 1

    def _key(self) -> str:
        bare = _BARE.match(self._text, self._at)
        if bare is not None:
            self._at = bare.end()
            return bare[0]
        begin = self._at
        self._skip(_STRING)
        return str(tomllib.loads(f"key = {self._text[begin : self._at]}")["key"])

    def _value(self, path: Path) -> None:
        match self._text[self._at]:
            case "[":
                self._array(path)
            case "{":
                self._inline_table(path)
            case '"' | "'":
                self._skip(_STRING)
            case _:
                self._skip(_SCALAR)

    def _array(self, path: Path) -> None:
        self._at += 1
        number = 0
        while self._text[self._skip_blank_and_comma()] != "]":
            self._offsets[*path, number] = self._at
            self._value((*path, number))
            number += 1
        self._at += 1

    def _inline_table(self, path: Path) -> None:
        self._at += 1
        while self._text[self._skip_blank_and_comma()] != "}":
            self._pair(path)
        self._at += 1

    def _skip_blank_and_comma(self) -> int:
        self._skip(_BLANK)
        if self._text[self._at] == ",":
            self._at += 1
            self._skip(_BLANK)
        return self._at

    def _skip(self, pattern: re.Pattern[str]) -> int:
        found = pattern.match(self._text, self._at)
        assert found is not None  # noqa: S101 - tomllib has seen to that
        self._at = found.end()
        return self._at
