"""JSON that came, and how its members are looked at: each mistake names the member."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Mapping

T = TypeVar("T")


class Odd(ValueError):
    """A member is missing, or not of its type."""


def mapping(value: object) -> Mapping[str, object] | None:
    """Give ``value`` if it is a JSON object."""
    return cast("dict[str, object]", value) if isinstance(value, dict) else None


def parse(text: bytes) -> Members:
    """Parse a JSON object. Raises Odd for anything else, however deep it is."""
    try:
        return Members(json.loads(text))
    except (ValueError, RecursionError) as error:
        raise Odd(f"the answer is no JSON object: {type(error).__name__}") from None


class Members:
    """A JSON object of an answer. Members that nobody looks at are ignored."""

    def __init__(self, value: object) -> None:
        found = mapping(value)
        if found is None:
            raise Odd("there is no object where one should be")
        self.all = found

    def _of(self, name: str, kind: type[T]) -> T:
        value = self.all.get(name)
        # A boolean is an integer to Python, and none to anybody else.
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            what = "lacks" if name not in self.all else "has an odd"
            raise Odd(f"the answer {what} `{name}`")
        return value

    def need(self, *names: str) -> None:
        """Raise Odd, naming all that are missing, for a service of another version."""
        lacking = [f"`{name}`" for name in names if name not in self.all]
        if lacking:
            raise Odd(f"the answer lacks {', '.join(lacking)}")

    def text(self, name: str) -> str:
        """A text."""
        return self._of(name, str)

    def number(self, name: str) -> int:
        """An integer from 0 on."""
        value = self._of(name, int)
        if value < 0:
            raise Odd(f"the answer has an odd `{name}`")
        return value

    def flag(self, name: str) -> bool:
        """A boolean."""
        return self._of(name, bool)

    def has(self, name: str) -> bool:
        """Whether it is there, and not null."""
        return self.all.get(name) is not None

    def text_or_none(self, name: str) -> str | None:
        """A text, or None for null or no member."""
        return self.text(name) if self.has(name) else None

    def number_or_none(self, name: str) -> int | None:
        """An integer, or None for null or no member."""
        return self.number(name) if self.has(name) else None

    def address(self, name: str) -> int:
        """An address: ``"0x..."``."""
        return self._address(name, self.text(name))

    def addresses(self, name: str) -> tuple[int, ...]:
        """A list of them."""
        return tuple(self._address(name, each) for each in self.text_list(name))

    def _address(self, name: str, text: str) -> int:
        try:
            value = int(text, 16) if text.startswith("0x") and len(text) <= 18 else -1  # noqa: PLR2004
        except ValueError:
            value = -1
        if value < 0:
            raise Odd(f"the answer has an odd `{name}`")
        return value

    def time(self, name: str) -> datetime:
        """A moment, RFC 3339."""
        try:
            return datetime.fromisoformat(self.text(name))
        except ValueError:
            raise Odd(f"the answer has an odd `{name}`") from None

    def time_or_none(self, name: str) -> datetime | None:
        """A moment, or None."""
        return self.time(name) if self.has(name) else None

    def inner(self, name: str) -> Members:
        """An object."""
        return Members(self.all.get(name))

    def objects(self, name: str) -> list[Members]:
        """A list of objects."""
        return [Members(each) for each in self._list(name)]

    def numbers(self, name: str) -> tuple[int, ...]:
        """A list of integers."""
        found = self._list(name)
        if not all(type(each) is int for each in found):
            raise Odd(f"the answer has an odd `{name}`")
        return tuple(cast("list[int]", found))

    def text_list(self, name: str) -> list[str]:
        """A list of texts."""
        return [str(each) for each in self._list(name)]

    def rows(self, name: str) -> list[list[object]]:
        """A list of lists."""
        found = self._list(name)
        if not all(isinstance(each, list) for each in found):
            raise Odd(f"the answer has an odd `{name}`")
        return cast("list[list[object]]", found)

    def texts(self, name: str) -> dict[str, str]:
        """An object of texts."""
        return {key: str(value) for key, value in self.inner(name).all.items()}

    def _list(self, name: str) -> list[object]:
        return cast("list[object]", self._of(name, list))
