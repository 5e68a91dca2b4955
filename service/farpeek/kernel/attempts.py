"""Tries system calls with arguments by which nothing happens, each in a process of its own.

Run as a program (``python -m farpeek.kernel.attempts``): a seccomp filter may end whoever makes a
call, and that is not to be the service. It prints one JSON object, from each call to what came of
it (0, an errno, or -1 for "it was ended"), and waits for its standard input to end.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import Final

from farpeek.kernel import uapi

ENDED: Final = -1


def outcome(call: str) -> int:
    """Try a call in a child: 0, an errno, or ENDED."""
    child = os.fork()
    if not child:
        os._exit(min(-uapi.try_harmlessly(call), 255))
    _, ended = os.waitpid(child, 0)
    return os.WEXITSTATUS(ended) if os.WIFEXITED(ended) else ENDED


def main() -> None:
    """Try them all."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.stdout.write(json.dumps({call: outcome(call) for call in uapi.HARMLESS}) + "\n")
    sys.stdout.flush()
    sys.stdin.read()


if __name__ == "__main__":
    main()
