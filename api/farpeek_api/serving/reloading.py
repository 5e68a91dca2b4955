"""What is taken anew from its files while the service runs: on SIGHUP, and when they have changed.

The kubelet swaps the files of a volume and sends no signal, and cert-manager renews certificates.
So files are looked at, by their names: inotify(7) watches what a name leads to now, not what it
will, and knows nothing of changes made through a network filesystem.
"""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING, Any

from farpeek_api.policy.file import PolicyError
from farpeek_api.serving.logs import log
from farpeek_api.serving.tls import TlsError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Sequence
    from contextlib import ExitStack
    from pathlib import Path

_FAILURES = (PolicyError, TlsError, OSError, RuntimeError)
"""A file that is wrong, or no descriptor or thread to read it with."""

Stamp = tuple[int, ...] | None
"""Of a file: another one, or another content, has another stamp. None: it is not there."""


class Reloadable:
    """Something that is made of files, like a policy. Files are as they are when it is made."""

    def __init__(self, what: str, paths: Sequence[Path]) -> None:
        self.what = what
        self.paths = paths
        """Of its files; none where there is no such thing."""
        self._taken = self._seen = self._stamps()
        self._complaint: str | None = None  # what is wrong with them
        self._told: str | None = None

    def look(self) -> bool:
        """Look at the files: True if they are others than those in use, and have not just changed.

        A file that is being written, or a key that does not fit yet, is left for the next look.
        """
        before, self._seen = self._seen, self._stamps()
        return before == self._seen != self._taken

    async def renew(self, take: Callable[[], Awaitable[None]]) -> None:
        """Take the files; what is wrong with them is logged, once, and changes nothing."""
        stamps = self._stamps()
        try:
            await take()
        except _FAILURES as error:
            self._complaint = str(error)
            if self._complaint != self._told:
                self._told = self._complaint
                for line in str(error).splitlines():
                    log.error("%s", line)
                log.error("the %s stays as it was before", self.what)
        else:
            self._taken = stamps
            self._complaint = self._told = None
            log.info("the %s is that of %s now", self.what, self.paths[0])

    @property
    def is_refused(self) -> bool:
        """Whether the files were refused when they were looked at last."""
        return self._complaint is not None

    def forget_complaint(self) -> None:
        """Say once more what is wrong, for somebody asks."""
        self._told = None

    def _stamps(self) -> tuple[Stamp, ...]:
        return tuple(map(_stamp, self.paths))


def _stamp(path: Path) -> Stamp:
    try:
        found = path.stat()  # through symbolic links: the kubelet swaps one of them
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


class Reloading:
    """Takes files anew, one thing at a time. Lives on the event loop."""

    def __init__(self, parts: Sequence[tuple[Reloadable, Callable[[], Awaitable[None]]]]) -> None:
        """``parts``: what there may be, and how it is taken; an error leaves it as it was."""
        self._all = [part for part, _ in parts]
        self._parts = [(part, take) for part, take in parts if part.paths]
        self._one_at_a_time = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    def refused(self) -> dict[str, bool]:
        """Of each thing, whether its files were refused; of what there is not, too."""
        return {part.what: part.is_refused for part in self._all}

    def on_hangup(self, cleanup: ExitStack, reopen: Callable[[], None]) -> None:
        """Take everything on SIGHUP, and ``reopen``."""
        loop = asyncio.get_running_loop()

        def begin() -> None:
            reopen()
            self._start(self._renew_all())

        loop.add_signal_handler(signal.SIGHUP, begin)
        cleanup.callback(loop.remove_signal_handler, signal.SIGHUP)

    def on_change(self, cleanup: ExitStack, interval_s: float) -> None:
        """Take what has changed, looked at so often."""
        cleanup.callback(self._start(self._watch(interval_s)).cancel)

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _renew_all(self) -> None:
        async with self._one_at_a_time:
            for part, take in self._parts:
                part.forget_complaint()
                await part.renew(take)

    async def _watch(self, interval_s: float) -> None:
        while True:
            await asyncio.sleep(interval_s)
            async with self._one_at_a_time:
                for part, take in self._parts:
                    if part.look():
                        await part.renew(take)
