"""A server that answers as no farpeek does: with bytes that a test has written."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING

from support.ending import Ending
from support.waiting import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class OddServer(Ending):
    """Answers one connection after the other with the next of ``answers``, and closes it.

    ``heads`` has what was sent by each, up to the empty line.
    """

    def __init__(self, path: Path, *answers: bytes) -> None:
        self.path = path
        self.heads: list[bytes] = []
        self._answers: Sequence[bytes] = answers
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.bind(str(path))
        self._socket.listen()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        for answer in self._answers:
            try:
                client, _ = self._socket.accept()
            except OSError:
                return
            with client:
                client.settimeout(PATIENCE_S)
                self._answer(client, answer)

    def _answer(self, client: socket.socket, answer: bytes) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            came = client.recv(1 << 16)
            if not came:
                return
            head += came
        self.heads.append(head.partition(b"\r\n\r\n")[0])
        with contextlib.suppress(OSError):
            client.sendall(answer)
            client.shutdown(socket.SHUT_WR)
            while client.recv(1 << 16):  # a reset would take the answer with it
                pass

    def end(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(PATIENCE_S)


def answer(
    status: int,
    body: bytes,
    kind: str = "application/json",
    *headers: str,
    length: int | None = None,
) -> bytes:
    """Write an HTTP answer; ``length`` is what it says of its body."""
    lines = [
        f"HTTP/1.1 {status} Odd",
        f"Content-Type: {kind}",
        f"Content-Length: {len(body) if length is None else length}",
        "Connection: close",
        *headers,
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body
