"""The policy that counts: of a file, read again when somebody asks for that; or none."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from farpeek_api.policy import file
from farpeek_api.serving.logs import log

if TYPE_CHECKING:
    from pathlib import Path

    from farpeek_api.policy.rules import Policy


class CurrentPolicy:
    """Lives on the event loop; a policy is replaced, and never changed."""

    def __init__(self, path: Path | None = None) -> None:
        """Read it, if there is one. Raises PolicyError."""
        self._path = path
        self.policy: Policy | None = None
        if path is not None:
            self._take(file.read(path))

    async def reload(self) -> None:
        """Read it again. PolicyError: it is none, and the one before stays."""
        if self._path is not None:
            # In a thread, because a megabyte of rules takes a second.
            self._take(await asyncio.to_thread(file.read, self._path))

    def _take(self, policy: Policy) -> None:
        for warning in policy.warnings:
            log.warning("%s", warning)
        self.policy = policy
