"""Memory goes back to the system when a burst is over.

malloc keeps what large answers took (53 MiB at rest, 239 after a burst), since it cannot know that
the next one is far away. To give it back at once would cost each answer its page faults again.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from farpeek.kernel import uapi

if TYPE_CHECKING:
    import asyncio

    from farpeek.threads.budget import Budget

QUIET_S: Final = 1.0


class Trimmer:
    """Trims the heap once little has been held for `QUIET_S`. Lives on the event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, budget: Budget) -> None:
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None
        budget.on_quiet = self._wait
        uapi.share_one_heap()

    def close(self) -> None:
        """Trim no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _wait(self) -> None:
        # A burst that goes on in between puts it off; it ends by another call.
        self.close()
        self._timer = self._loop.call_later(QUIET_S, self._trim)

    def _trim(self) -> None:
        self._timer = None
        # Some ms for each 100 MiB, in which the loop goes on.
        threading.Thread(target=uapi.trim_heap, name="trim", daemon=True).start()
