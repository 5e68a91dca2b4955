"""What every transfer does to its target: it is counted, and holds it until it is over."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Self

from farpeek.errors import TooBusy

if TYPE_CHECKING:
    from types import TracebackType

    from farpeek.model import Limits
    from farpeek.targets.target import Target


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

    @abstractmethod
    def _give_back(self) -> None:
        """Let go of what it holds besides the target."""
