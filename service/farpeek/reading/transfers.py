"""What every transfer does to its target: it is counted, and holds it until it is over."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from farpeek.errors import TooBusy

if TYPE_CHECKING:
    from types import TracebackType

    from farpeek.model import Limits
    from farpeek.targets.target import Target


PATIENCE: Final = 10
"""Deadlines that a chunk may take in the middle of a transfer while nothing hangs.

Others need the processor then, or hold the bytes of the budget. To end a long answer for that
would look like memory that cannot be read, and cost all that was read before.
"""


class Times(NamedTuple):
    """The deadline of a chunk, and until when it has time past that while nothing hangs."""

    deadline: float
    latest: float


class TargetTransfer(ABC):
    """A transfer of one target; a context manager that gives back whatever it holds."""

    def __init__(self, target: Target, limits: Limits) -> None:
        self._target = target
        self._limits = limits

    def __enter__(self) -> Self:
        if self._target.transfers >= self._limits.target_waiting:
            raise TooBusy(
                f"{self._target.transfers} transfers of this target are under way already "
                "(--target-waiting)"
            )
        self._target.transfers += 1
        self._target.hold()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._give_back()
        self._target.transfers -= 1
        self._target.let_go()

    def _first_times(self) -> Times:
        """Those of the first chunk, before which nothing was sent: who asks is told at once."""
        deadline = time.monotonic() + self._limits.deadline_s
        return Times(deadline, deadline)

    def _further_times(self) -> Times:
        """Those of a chunk in the middle."""
        now = time.monotonic()
        return Times(now + self._limits.deadline_s, now + PATIENCE * self._limits.deadline_s)

    @abstractmethod
    def _give_back(self) -> None:
        """Let go of what it holds besides the target."""
