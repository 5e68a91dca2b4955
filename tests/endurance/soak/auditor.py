"""Whoever moves the audit's files away, and holds them against one another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from endurance.soak.judging import Wrong
from endurance.soak.users import User
from farpeek_api.audit.verifying import verify

if TYPE_CHECKING:
    from pathlib import Path

    from endurance.soak.stage import Stage

_EVERY_S = 5.0


class Auditor(User):
    """Moves the file away; the last two of those are whole by then, and one chain."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        self._moved: list[Path] = []

    def act(self) -> None:
        self.stage.over.wait(_EVERY_S)
        current = self.stage.audit
        if not current.exists():  # nothing has come since it was moved
            return
        self._moved.append(current.rename(current.with_suffix(f".{len(self._moved)}")))
        self.fault("the audit's file is moved away")
        if len(self._moved) > 2:
            self.verify(self._moved[-3:-1])
            self._moved[-3].unlink()

    def verify(self, files: list[Path]) -> None:
        """Raise Wrong where a chain is broken."""
        report = verify(files)
        self.count("lines of the audit", report.lines)
        if report.breaks:
            raise Wrong(f"the audit is broken: {report.breaks[:3]}")

    def finish(self) -> None:
        """Verify all that is left; the service is at rest."""
        try:
            self.verify([*self._moved[-2:], self.stage.audit])
        except Wrong as wrong:
            self.stage.fail(self.name, str(wrong))
        for path in self._moved[-2:]:
            path.unlink()
