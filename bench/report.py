"""Outcomes -> a table on the terminal, and RESULTS.md with its picture."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from bench import peers, picture

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.framework import Outcome, Row

RESULTS = Path(__file__).resolve().parent / "RESULTS.md"

_HEADINGS = ("compared", "figure", "median", "min", "max", "aim", "subject", "floor")
_PREFACE = (
    "Made by the bench, not by hand. Each figure is measured in turns with its floor, in one "
    "run; a ratio is of two figures of the same round. Medians of the rounds, with their least "
    "and most; there is no pass or fail."
)
_PACKAGES = ("farpeek", "aiohttp", "uvloop", "pydantic")


def text(outcome: Outcome) -> str:
    """Show one case, for the terminal."""
    lines = [f"{outcome.case.name}: {outcome.case.title}"]
    if outcome.skipped is not None:
        return "\n".join([*lines, f"  skipped: {outcome.skipped}"])
    table = [_HEADINGS, *map(_cells, outcome.rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for cells in table:
        padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        lines.append("  " + "  ".join(padded).rstrip())
    return "\n".join(lines)


def write(facts: Sequence[tuple[str, str]], outcomes: Sequence[Outcome]) -> Path:
    """Write all of it to `RESULTS`, and the picture beside it."""
    drawn = picture.write(outcomes)
    parts = [
        "# Results of `make bench`",
        _PREFACE,
        f"![All ratios, their spread and their aims]({drawn.name})",
        "\n".join(f"- {name}: {value}" for name, value in facts),
    ]
    parts.append(_aims(outcomes))
    for outcome in outcomes:
        parts.append(
            f"## {outcome.case.name}\n\n{outcome.case.title[:1].upper()}{outcome.case.title[1:]}."
        )
        if outcome.skipped is not None:
            parts.append(f"Skipped: {outcome.skipped}.")
            continue
        parts.append(f"{outcome.rounds} rounds.\n\n{_markdown(outcome.rows)}")
    RESULTS.write_text("\n\n".join(parts) + "\n")
    return RESULTS


def machine() -> list[tuple[str, str]]:
    """Say what all of this was measured on."""
    load = ", ".join(f"{each:.2f}" for each in os.getloadavg())
    return [
        ("begun", datetime.now(UTC).isoformat(timespec="minutes")),
        ("cores", f"{len(os.sched_getaffinity(0))} ({_cpu_model()})"),
        ("kernel", f"{platform.system()} {platform.release()} {platform.machine()}"),
        ("Python", platform.python_version()),
        ("versions", ", ".join(f"{name} {version(name)}" for name in _PACKAGES)),
        ("peers", peers.versions()),
        ("load average before", load),
    ]


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("model name", "CPU part"):
            return value.strip()
    return platform.machine()


def _aims(outcomes: Sequence[Outcome]) -> str:
    """Gather all that has an aim, and say what is not in here."""
    named = [
        (each.case.name, row) for each in outcomes for row in each.rows if row.kept is not None
    ]
    kept = sum(row.kept is True for _, row in named)
    lines = [("case", *_HEADINGS), ("---",) * (len(_HEADINGS) + 1)]
    lines += [(name, *_cells(row)) for name, row in named]
    skipped = ", ".join(each.case.name for each in outcomes if each.skipped is not None)
    said = f"{kept} of {len(named)} are kept. Skipped: {skipped or 'nothing'}."
    return f"## Aims\n\n{said}\n\n{_table(lines)}"


def _cells(row: Row) -> tuple[str, ...]:
    comparison = row.comparison
    unit = " x" if comparison.result == "ratio" else f" {comparison.unit}"
    aim = "-"
    if comparison.aim is not None:
        bound = "<=" if comparison.at_least is None else ">="
        aim = f"{bound} {comparison.aim:g}{unit} {'kept' if row.kept else 'missed'}"
    return (
        f"{comparison.subject} / {comparison.floor}",
        comparison.figure,
        _number(row.median) + unit,
        _number(row.least),
        _number(row.most),
        aim,
        f"{_number(row.subject)} {comparison.unit}",
        f"{_number(row.floor)} {comparison.unit}",
    )


def _number(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def _markdown(rows: Sequence[Row]) -> str:
    return _table([_HEADINGS, ("---",) * len(_HEADINGS), *map(_cells, rows)])


def _table(lines: Sequence[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
