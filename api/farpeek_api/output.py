"""The standard output of a command, which may lead to a full disk, or to nobody."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from _typeshed import SupportsWrite

FAILED: Final = 1
PIPE_CLOSED: Final = 141
"""128 + SIGPIPE: what a shell says of any tool whose reader has gone."""


def lost(prog: str, error: OSError) -> int:
    """Say that it takes no more, unless its reader has seen enough; the exit status."""
    # What is still to be written would be tried again at the end, and complained of by Python.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if isinstance(error, BrokenPipeError):
        return PIPE_CLOSED
    sys.stderr.write(f"{prog}: the output: {error.strerror or type(error).__name__}\n")
    return FAILED


class Parser(argparse.ArgumentParser):
    """Fails where its help cannot be written; argparse takes no notice of that."""

    def _print_message(self, message: str, file: SupportsWrite[str] | None = None) -> None:
        is_output = file is sys.stdout
        if not is_output:
            super()._print_message(message, file)
            return
        try:
            sys.stdout.write(message)
            sys.stdout.flush()
        except OSError as error:
            sys.exit(lost(self.prog, error))
