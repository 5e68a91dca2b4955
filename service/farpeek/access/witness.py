"""Whose memory was read: what shows it, and what is raised when it is nobody's any more."""

from __future__ import annotations

from typing import Protocol


class ProcessGone(Exception):
    """The process has exited, as its pidfd says; nothing that was read may be believed."""


class Witness(Protocol):
    """One program, and what shows that it is still executed."""

    @property
    def pagemap(self) -> int | None:
        """A descriptor on its page table, which gives nothing once its memory is gone."""
        ...

    @property
    def random(self) -> tuple[int, bytes] | None:
        """Where bytes are that no other program has, and what they are; None: not known."""
        ...
