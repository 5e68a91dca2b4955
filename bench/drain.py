"""`python -m bench.drain PATH REQUEST`: bulk reads without end, in a process of its own.

The request in hex. Each line on stdin is answered by the bytes received since the one before.
"""

from __future__ import annotations

import sys
import threading
from pathlib import Path

from bench.wire import Connection


class _Draining(threading.Thread):
    def __init__(self, connection: Connection, message: bytes) -> None:
        super().__init__(daemon=True)
        self._connection = connection
        self._message = message
        self.total = 0

    def run(self) -> None:
        while True:
            self._connection.drain(self._message, self._count)

    def _count(self, piece: memoryview) -> None:
        self.total += len(piece)


def main() -> None:
    with Connection(Path(sys.argv[1])) as connection:
        draining = _Draining(connection, bytes.fromhex(sys.argv[2]))
        draining.start()
        print("ready", flush=True)
        told = 0
        for _ in sys.stdin:
            now = draining.total
            print(now - told, flush=True)
            told = now


if __name__ == "__main__":
    main()
