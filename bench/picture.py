"""Outcomes -> RATIOS.svg: every ratio on one logarithmic scale, its spread, and its aim."""

from __future__ import annotations

import math
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from bench.framework import Outcome, Row

PICTURE = Path(__file__).resolve().parent / "RATIOS.svg"

_LABELS, _SCALE, _FIGURES = 470, 430, 70  # widths
_LINE = 18
_TOP = 58
_BOTTOM = 14
_COLOURS = {True: "#1a7f4b", False: "#c2410c", None: "#4b6a88"}
_DARK, _PALE = 'fill="#111"', 'fill="#555"'
_KEY = (
    (True, "the aim is kept"),
    (False, "the aim is missed"),
    (None, "there is no aim"),
)


def write(outcomes: Iterable[Outcome]) -> Path:
    """Write the picture; cases without a ratio are not in it."""
    PICTURE.write_text(draw(outcomes))
    return PICTURE


def draw(outcomes: Iterable[Outcome]) -> str:
    """Draw all of it, as SVG."""
    groups = [(outcome.case.name, _ratios(outcome)) for outcome in outcomes]
    groups = [(name, rows) for name, rows in groups if rows]
    scale = _Scale([row for _, rows in groups for row in rows])
    body: list[str] = []
    y = _TOP
    for name, rows in groups:
        y += _LINE
        body.append(_text(8, y, name, f'{_DARK} font-weight="bold"'))
        for row in rows:
            y += _LINE
            body.extend(_row(row, y, scale))
        y += _LINE // 2
    height, width = y + _BOTTOM, _LABELS + _SCALE + _FIGURES
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"',
        'font-family="sans-serif" font-size="12">',
        "<title>Ratios of `make bench`</title>",
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        *_key(),
        *scale.grid(height - _BOTTOM),
        *body,
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


class _Scale:
    """Where a ratio is: decades of equal width."""

    def __init__(self, rows: Sequence[Row]) -> None:
        values = [1.0, *(each for row in rows for each in _values(row))]
        self._low = math.log10(min(values)) - 0.05
        self._high = math.log10(max(values)) + 0.05

    def x(self, ratio: float) -> float:
        share = (math.log10(ratio) - self._low) / (self._high - self._low)
        return round(_LABELS + share * _SCALE, 1)

    def grid(self, bottom: int) -> Iterator[str]:
        """Draw lines at 1, 2 and 5 of each decade; the one at 1 is the floor itself."""
        for decade in range(math.floor(self._low), math.ceil(self._high)):
            for digit in (1, 2, 5):
                ratio = digit * 10.0**decade
                if not self._low <= math.log10(ratio) <= self._high:
                    continue
                x, colour = self.x(ratio), "#555" if ratio == 1 else "#ddd"
                yield f'<path d="M{x} {_TOP}V{bottom}" stroke="{colour}"/>'
                if digit == 1 or self._high - self._low < 3:
                    yield _text(x, _TOP - 6, f"{ratio:g} x", f'{_PALE} text-anchor="middle"')


def _ratios(outcome: Outcome) -> list[Row]:
    return [row for row in outcome.rows if row.comparison.result == "ratio" and row.least > 0]


def _values(row: Row) -> list[float]:
    aim = row.comparison.aim
    return [row.least, row.most] if aim is None else [row.least, row.most, aim]


def _row(row: Row, y: int, scale: _Scale) -> Iterator[str]:
    comparison, colour, middle = row.comparison, _COLOURS[row.kept], y - 4
    label = f"{comparison.subject} / {comparison.floor}: {comparison.figure}"
    yield _text(_LABELS - 10, y, label, f'{_DARK} text-anchor="end" font-size="11"')
    low, high = scale.x(row.least), scale.x(row.most)
    yield f'<path d="M{low} {middle}H{high}" stroke="{colour}" stroke-width="2"/>'
    yield f'<circle cx="{scale.x(row.median)}" cy="{middle}" r="4" fill="{colour}"/>'
    if comparison.aim is not None:
        yield _aim(scale.x(comparison.aim), middle, at_most=comparison.at_least is None)
    yield _text(_LABELS + _SCALE + 8, y, f"{row.median:.2f} x", f'fill="{colour}"')


def _aim(x: float, y: float, *, at_most: bool) -> str:
    """Draw a bound with a foot that points to the side where figures should be."""
    foot = -4 if at_most else 4
    return (
        f'<path d="M{x + foot} {y - 6}H{x}V{y + 6}H{x + foot}" stroke="#111" '
        'fill="none" stroke-width="1.3"/>'
    )


def _key() -> Iterator[str]:
    yield _text(8, 20, "median, with least and most of the rounds", _PALE)
    x = 290
    for kept, text in _KEY:
        yield f'<circle cx="{x}" cy="16" r="4" fill="{_COLOURS[kept]}"/>'
        yield _text(x + 9, 20, text, _PALE)
        x += 140
    yield _aim(x + 8, 16, at_most=True)
    yield _aim(x + 18, 16, at_most=False)
    yield _text(x + 32, 20, "aims: at most, at least", _PALE)


def _text(x: float, y: float, content: str, style: str = _DARK) -> str:
    return f'<text x="{x}" y="{y}" {style}>{escape(content)}</text>'
