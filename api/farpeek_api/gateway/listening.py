"""Where debuggers connect: a unix socket for one user alone, or a port."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import socket
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

MOST_CONNECTIONS: Final = 16
_LONGEST_PATH: Final = 107  # sun_path of unix(7), and its end
_LARGEST_PORT: Final = 65535


class WrongPlace(ValueError):
    """It is no place to listen at; the text has the cure."""


@contextlib.contextmanager
def listener(word: str, *, anywhere: bool = False) -> Generator[socket.socket]:
    """Listen on ``unix:PATH`` or ``HOST:PORT``; what this makes is removed at the end.

    Whoever connects reads the target's memory. So a unix socket is its owner's alone, and a HOST
    that is not loopback takes ``anywhere``. Raises WrongPlace, OSError.
    """
    if word.startswith("unix:"):
        with _unix(word.removeprefix("unix:")) as made:
            yield made
        return
    host, port = _host_and_port(word)
    if not anywhere and not _is_loopback(host):
        raise WrongPlace(
            f"{host} is not loopback, and whoever connects reads the target's memory: "
            "listen on unix:PATH, or add --anywhere"
        )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, port), family=family, backlog=MOST_CONNECTIONS) as made:
        yield made


@contextlib.contextmanager
def _unix(path: str) -> Generator[socket.socket]:
    if not path or len(os.fsencode(path)) > _LONGEST_PATH:
        raise WrongPlace(f"the path of a socket has 1 to {_LONGEST_PATH} bytes")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as made:
        # The mode that bind(2) gives it is the descriptor's: nobody is in before it is narrowed.
        os.fchmod(made.fileno(), 0o600)
        if _is_left_behind(path):
            Path(path).unlink(missing_ok=True)
        made.bind(path)
        try:
            made.listen(MOST_CONNECTIONS)
            yield made
        finally:
            Path(path).unlink(missing_ok=True)


def _is_left_behind(path: str) -> bool:
    """Whether it is the socket of one who was killed: nobody answers there."""
    if not Path(path).is_socket():
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as trial:
        trial.settimeout(0)  # else it would wait where many do
        return trial.connect_ex(path) == errno.ECONNREFUSED


def _host_and_port(word: str) -> tuple[str, int]:
    host, _, port = word.rpartition(":")
    is_port = port.isascii() and port.isdecimal() and len(port) < 6 and int(port) <= _LARGEST_PORT  # noqa: PLR2004 - digits
    if not host or not is_port:
        raise WrongPlace(f"{word!r} is no place to listen at: write unix:PATH or HOST:PORT")
    return host.removeprefix("[").removesuffix("]"), int(port)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def shown(made: socket.socket) -> str:
    """Say where a listener is."""
    where = made.getsockname()
    if isinstance(where, str):
        return f"unix:{where}"
    host, port = where[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Connections:
    """Serves each connection in a thread of its own, MOST_CONNECTIONS of them at a time."""

    def __init__(self, serve: Callable[[socket.socket], None]) -> None:
        self._serve = serve
        self._places = threading.BoundedSemaphore(MOST_CONNECTIONS)

    def accept(self, made: socket.socket) -> None:
        """Accept until the listener is shut down. One too many is closed at once."""
        while True:
            try:
                connection, _ = made.accept()
            except OSError:
                return
            if not self._places.acquire(blocking=False):
                connection.close()
                continue
            threading.Thread(target=self._one, args=(connection,), daemon=True).start()

    def _one(self, connection: socket.socket) -> None:
        try:
            with connection, contextlib.suppress(ConnectionError):
                if connection.family != socket.AF_UNIX:
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._serve(connection)
        finally:
            self._places.release()
