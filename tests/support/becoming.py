"""A process that becomes another program, which has a secret to keep."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

    from support.targets import Target

SECRET: Final = 0x5EC4E75EC4E75EC4


def become_vault(process: Target, programs: Path) -> None:
    """Have it execute what holds the secret, and return when it does."""
    process.send(f"become {programs / 'vault'} {SECRET:#x}")
    process.await_ready()
