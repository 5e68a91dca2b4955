"""How a process ended, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from farpeek_api.client import Exit


def how_it_ended(exit_: Exit | None) -> str:
    """Say it, to be put behind a process's name."""
    if exit_ is None:
        return "has exited"
    if exit_.signal is not None:
        core = ", and left a core" if exit_.core_dumped else ""
        return f"was ended by {exit_.signal}{core}"
    return f"has exited with status {exit_.code}"


def counted(lost: int, by: Mapping[str, int]) -> str:
    """Say how many ticks were lost, and through whom."""
    through = ", ".join(f"{name} {count}" for name, count in sorted(by.items()) if count)
    return f"{lost} lost ({through})" if through else f"{lost} lost"
