"""How a server is stopped: by the first signal in good order, by the second at once."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from functools import partial
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from contextlib import ExitStack


def stop_on_signals(cleanup: ExitStack) -> asyncio.Event:
    """Give an event that the first signal sets; the second one ends the process at once."""
    stop = asyncio.Event()

    def stop_or_exit(number: int) -> None:
        if stop.is_set():
            cleanup.close()
            exit_now(128 + number)
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, partial(stop_or_exit, number))
        # uvloop (0.23) leaves its handler of SIGINT behind when it is closed.
        cleanup.callback(loop.remove_signal_handler, number)
    return stop


def exit_now(status: int) -> NoReturn:
    """End the process without waiting for threads."""
    logging.shutdown()
    sys.stdout.flush()
    os._exit(status)
