"""What ends with its ``with`` in every case."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, AnyStr, Self

from support.waiting import PATIENCE_S

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

    from support.forked import Forked


class Ending(ABC):
    """A context manager whose end is `end`."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.end()

    @abstractmethod
    def end(self) -> None:
        """End it, whatever state it is in."""


def end_process(process: subprocess.Popen[Any] | Forked) -> None:
    """Kill and reap, and close our ends of its pipes."""
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    process.wait(PATIENCE_S)
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(BrokenPipeError):
                pipe.close()


@contextlib.contextmanager
def ended(process: subprocess.Popen[AnyStr]) -> Iterator[subprocess.Popen[AnyStr]]:
    """Kill a process at the end of the ``with``: Popen's own waits until it ends by itself."""
    with process:
        try:
            yield process
        finally:
            process.kill()
