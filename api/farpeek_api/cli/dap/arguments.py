"""Arguments of requests, taken out by type. What is null or missing is the default."""

from __future__ import annotations

import binascii
from typing import TYPE_CHECKING, cast

from farpeek_api.cli.errors import WrongWord
from farpeek_api.client.members import mapping

if TYPE_CHECKING:
    from collections.abc import Mapping


class Arguments:
    """Those of one request. All of it raises WrongWord, which names the member."""

    def __init__(self, request: Mapping[str, object]) -> None:
        self._all: Mapping[str, object] = mapping(request.get("arguments")) or {}

    def number(self, name: str, default: int | None = None) -> int:
        """Give a whole number."""
        value = self._all.get(name)
        if value is None and default is not None:
            return default
        if isinstance(value, bool) or not isinstance(value, int):
            raise WrongWord(f"`{name}` has to be a whole number")
        return value

    def count(self, name: str, default: int | None = None) -> int:
        """Give a number that is not below 0."""
        value = self.number(name, default)
        if value < 0:
            raise WrongWord(f"`{name}` is below 0")
        return value

    def text(self, name: str, default: str | None = None) -> str:
        """Give a text."""
        value = self._all.get(name, default)
        if not isinstance(value, str):
            raise WrongWord(f"`{name}` has to be a text")
        return value

    def text_or_number(self, *names: str) -> str:
        """Give the first of some members that is there, as a text."""
        for name in names:
            value = self._all.get(name)
            if isinstance(value, (str, int)) and not isinstance(value, bool):
                return str(value)
        raise WrongWord(f"`{names[0]}` is missing: a pid, or comm=NAME, exe=*/NAME")

    def flag(self, name: str) -> bool:
        """Tell whether a member is true."""
        return self._all.get(name) is True

    def base64(self, name: str) -> bytes:
        """Give bytes."""
        try:
            return binascii.a2b_base64(self.text(name), strict_mode=True)
        except ValueError:
            raise WrongWord(f"`{name}` is no base64") from None

    def length(self, name: str) -> int:
        """Tell how long a list is; 0 if there is none."""
        value = self._all.get(name)
        return len(cast("list[object]", value)) if isinstance(value, list) else 0
