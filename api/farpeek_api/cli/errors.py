"""What ends a command: one line for stderr that has the cure, and an exit status."""

from __future__ import annotations

from typing import TYPE_CHECKING

from farpeek_api.cli import statuses

if TYPE_CHECKING:
    from collections.abc import Sequence


class CommandError(Exception):
    """The command cannot go on; its text names the cure. ``more`` are lines to show below it."""

    status = statuses.FAILED

    def __init__(self, text: str, more: Sequence[str] = ()) -> None:
        super().__init__(text)
        self.more = more


class WrongWord(CommandError):
    """A word of the command line makes no sense; the text names it, and the right one if it can."""

    status = statuses.USAGE


class NoSuchTargetWord(CommandError):
    """The word means a process, or a target, that is not there."""

    status = statuses.NO_TARGET
