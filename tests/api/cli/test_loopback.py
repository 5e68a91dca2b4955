"""Whose the other end of a connection on this host is, by the kernel's word."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from farpeek_api.cli import loopback

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

STRANGER = 4242

_AS_STRANGER = """
import os, socket, sys
family, host, port, uid = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
os.setresuid(uid, uid, uid)
with socket.socket(family) as sock:
    sock.connect((host, port))
    sys.stdin.read()
"""

ASKING = [loopback._by_socket, loopback._by_table]  # noqa: SLF001 - each is to know it by itself


@contextmanager
def connected(host: str, uid: int) -> Iterator[tuple[socket.socket, tuple[object, ...]]]:
    """Accept a connection of another process."""
    with loopback.listen((host, 0)) as listener:
        command = [sys.executable, "-c", _AS_STRANGER, str(int(listener.family)), host]
        with subprocess.Popen(
            [*command, str(listener.getsockname()[1]), str(uid)], stdin=subprocess.PIPE, cwd="/"
        ) as process:
            try:
                connection, there = listener.accept()
                with connection:
                    yield connection, there
            finally:
                process.kill()


@pytest.mark.parametrize("asked", ASKING, ids=["by socket", "by table"])
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_the_kernel_says_whose_it_is(asked: object, host: str) -> None:
    uid = STRANGER if os.geteuid() == 0 else os.geteuid()
    with connected(host, uid) as (connection, there):
        assert callable(asked)
        here = connection.getsockname()
        assert asked(here, there) == uid
        assert loopback.is_ours(here, there) == (uid == os.geteuid())
    with connected(host, os.geteuid()) as (connection, there):
        assert asked(connection.getsockname(), there) == os.geteuid()
        assert loopback.is_ours(connection.getsockname(), there)


@pytest.mark.parametrize("asked", ASKING, ids=["by socket", "by table"])
def test_of_who_is_not_there_it_says_nothing(asked: object) -> None:
    assert callable(asked)
    assert asked(("127.0.0.1", 1), ("127.0.0.1", 2)) is None
    assert not loopback.is_ours(("127.0.0.1", 1), ("127.0.0.1", 2))


def test_without_sock_diag_the_table_does(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError

    monkeypatch.setattr(loopback, "_by_socket", refuse)
    with connected("127.0.0.1", os.geteuid()) as (connection, there):
        assert loopback.is_ours(connection.getsockname(), there)
