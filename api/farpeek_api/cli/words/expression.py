"""ADDRESS expressions and RANGEs, taken apart: text in, a tree out. Nothing here asks a target.

    sum     = operand { ("+" | "-") NUMBER }
    operand = "*" operand | "(" sum ")" | NUMBER | MAPPED [":" SYMBOL] | SYMBOL

MAPPED is the name of a mapped file, its path, or a name like ``[heap]``. Such names have hyphens,
pluses and spaces in them, so that it takes the target's to tell where one ends: the longest wins.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple, NoReturn, Protocol, TypeAlias

from farpeek_api.cli.errors import WrongWord
from farpeek_api.cli.words.amounts import ADDRESS_LIMIT, AMOUNT, amount
from farpeek_api.cli.words.nearest import nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

_LONGEST: Final = 4096
_DEEPEST: Final = 32
_END: Final = r"(?=[\s+\-):]|$)"
_NUMBER: Final = rf"({AMOUNT})(?=[\s+\-)]|$)"
_WORD: Final = r"[^\s+\-*():\[\]]+"
_WHOLE_WORD: Final = r"[^\s+*()]+"
_SPACE: Final = r"\s*"


# Tuples, because a dataclass takes a millisecond to make, each time that the command is called.


class Number(NamedTuple):
    """``0x7f00``, ``4096``, ``4K``."""

    value: int


class Mapped(NamedTuple):
    """Where the first mapping of that name begins."""

    name: str


class Symbol(NamedTuple):
    """A symbol, of one file or of any."""

    name: str
    file: str | None = None


class Pointer(NamedTuple):
    """``*EXPR``: what the pointer there points to."""

    to: Expression


class Offset(NamedTuple):
    """``EXPR+N``; ``by`` is negative for ``EXPR-N``."""

    base: Expression
    by: int


Expression: TypeAlias = Number | Mapped | Symbol | Pointer | Offset
Names: TypeAlias = "Callable[[], Collection[str]]"
"""Gives the names that are mapped; asked only where an expression has a name in it."""


class Range(NamedTuple):
    """``FROM-TO``, or ``FROM+LENGTH``: one of ``end`` and ``length`` is there."""

    start: Expression
    end: Expression | None
    length: int | None


class Space(Protocol):
    """What an expression is evaluated in."""

    def base(self, name: str) -> int:
        """Where the first mapping of that name begins."""
        ...

    def symbol(self, name: str, file: str | None) -> int:
        """Where a symbol is. Raises WrongWord."""
        ...

    def pointer(self, address: int) -> int:
        """Read a pointer."""
        ...


def parse(text: str, names: Names) -> Expression:
    """Take an ADDRESS apart. Raises WrongWord."""
    return _Parser(text, names).whole()


def parse_range(text: str, names: Names) -> Range:
    """Take a RANGE apart. Raises WrongWord."""
    return _Parser(text, names).whole_range()


def evaluate(expression: Expression, space: Space) -> int:
    """Find the address that is meant. Raises WrongWord, and what ``space`` raises."""
    match expression:
        case Number(value):
            return _checked(value, expression)
        case Mapped(name):
            return space.base(name)
        case Symbol(name, file):
            return space.symbol(name, file)
        case Pointer(to):
            return space.pointer(evaluate(to, space))
        case Offset(base, by):
            return _checked(evaluate(base, space) + by, expression)


def evaluate_range(found: Range, space: Space) -> tuple[int, int]:
    """Find where a range begins and ends. Raises WrongWord."""
    start = evaluate(found.start, space)
    end = start + (found.length or 0) if found.end is None else evaluate(found.end, space)
    if not start < end <= ADDRESS_LIMIT:
        raise WrongWord(f"the range ends at {end:#x}, and begins at {start:#x}: it has no bytes")
    return start, end


def _checked(value: int, expression: Expression) -> int:
    if 0 <= value < ADDRESS_LIMIT:
        return value
    sign = "-" if value < 0 else ""
    what = "an offset leads to" if isinstance(expression, Offset) else "there is no address"
    raise WrongWord(f"{what} {sign}{abs(value):#x}, which is outside of 0 to 2^64")


class _Parser:
    def __init__(self, text: str, names: Names) -> None:
        if len(text) > _LONGEST:
            raise WrongWord(f"an address has at most {_LONGEST} characters")
        self._text = text
        self._names = names
        self._at = 0
        self._depth = 0

    def whole(self) -> Expression:
        found = self._sum()
        if self._at < len(self._text):
            self._refuse(f"{self._text[self._at :]!r} is left over: write EXPR+N or EXPR-N")
        return found

    def whole_range(self) -> Range:
        """The last operator of all says what is behind it: ``+`` a length, ``-`` an end."""
        start = self._operand()
        last: tuple[str, Expression] | None = None
        while operator := self._operator():
            if last is not None:
                start = self._offset(start, *last)
            last = operator, self._operand()
        if last is None or self._at < len(self._text):
            self._refuse("write FROM-TO or FROM+LENGTH")
        operator, operand = last
        if operator == "-":
            return Range(start, operand, None)
        if not isinstance(operand, Number):
            self._refuse("behind the last + is the range's length in bytes")
        return Range(start, None, operand.value)

    def _sum(self) -> Expression:
        found = self._operand()
        while operator := self._operator():
            before = self._at
            operand = self._operand()
            if not isinstance(operand, Number):
                self._refuse(f"{self._text[before : self._at].strip()!r} is no number to add")
            found = self._offset(found, operator, operand)
        return found

    def _offset(self, base: Expression, operator: str, operand: Expression) -> Offset:
        if not isinstance(operand, Number):
            self._refuse(f"behind {operator} in an address is a number")
        by = operand.value if operator == "+" else -operand.value
        # One of an offset is one: so the tree is as deep as `_DEEPEST`, however long the text.
        return Offset(base.base, base.by + by) if isinstance(base, Offset) else Offset(base, by)

    def _operator(self) -> str:
        self._skip_space()
        found = self._text[self._at : self._at + 1]
        if found not in ("+", "-"):
            return ""
        self._at += 1
        return found

    def _operand(self) -> Expression:
        self._depth += 1
        if self._depth > _DEEPEST:
            self._refuse(f"it is nested deeper than {_DEEPEST} times")
        self._skip_space()
        found = self._operand_here()
        self._depth -= 1
        return found

    def _operand_here(self) -> Expression:
        if self._take("*"):
            return Pointer(self._operand())
        if self._take("("):
            inner = self._sum()
            self._skip_space()
            if not self._take(")"):
                self._refuse("a ) is missing")
            return inner
        if number := self._match(_NUMBER):
            self._at = number.end()
            value = amount(number[1])
            assert value is not None  # noqa: S101 - it looks like one
            return Number(value)
        return self._name()

    def _name(self) -> Expression:
        mapped = self._mapped()
        if mapped is None:
            return self._symbol_of_any()
        if not self._take(":"):
            return Mapped(mapped)
        return Symbol(self._word(f"the name of a symbol is missing behind {mapped}:"), mapped)

    def _mapped(self) -> str | None:
        if self._at == len(self._text):
            self._refuse("an address is missing at its end")
        rest = self._text[self._at :]
        for name in sorted(self._names(), key=len, reverse=True):
            if name and rest.startswith(name) and re.match(_END, rest[len(name) :]):
                self._at += len(name)
                return name
        return None

    def _symbol_of_any(self) -> Symbol:
        whole = self._match(_WHOLE_WORD)
        word = whole[0] if whole else self._text[self._at :]
        file, colon, _ = word.partition(":")
        # `libfoo-bar` may be a name with a mistake in it; it is no difference of two.
        _, hyphen, behind = word.partition("-")
        is_difference = re.match(_NUMBER, behind) is not None
        if word.startswith("[") or (hyphen and not is_difference) or colon:
            self._refuse_name(file if colon and not word.startswith("[") else word)
        if word[:1].isdigit():
            self._refuse(f"{word!r} is no number: a hexadecimal one begins with 0x")
        return Symbol(self._word(f"{word!r} is no address"))

    def _refuse_name(self, name: str) -> NoReturn:
        right = nearest(name, self._names())
        cure = f"did you mean {right}?" if right else "`farpeek maps` lists what is"
        raise WrongWord(f"nothing that is mapped is called {name!r}: {cure}")

    def _word(self, complaint: str) -> str:
        found = self._match(_WORD)
        if found is None:
            self._refuse(complaint)
        self._at = found.end()
        return found[0]

    def _match(self, pattern: str) -> re.Match[str] | None:
        return re.compile(pattern).match(self._text, self._at)  # which re remembers

    def _take(self, sign: str) -> bool:
        if not self._text.startswith(sign, self._at):
            return False
        self._at += len(sign)
        return True

    def _skip_space(self) -> None:
        found = self._match(_SPACE)
        assert found is not None  # noqa: S101 - it matches nothing, too
        self._at = found.end()

    def _refuse(self, why: str) -> NoReturn:
        raise WrongWord(f"{self._text!r} cannot be understood: {why}")
