"""Where debuggers may connect, and how many of them."""

from __future__ import annotations

import socket
import stat
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from farpeek_api.gateway.listening import (
    MOST_CONNECTIONS,
    Connections,
    WrongPlace,
    listener,
    shown,
)
from support.waiting import PATIENCE_S

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("word", "cure"),
    [
        ("0.0.0.0:0", "--anywhere"),
        ("[::]:0", "--anywhere"),
        ("example.org:1", "--anywhere"),
        ("7", "unix:PATH"),
        (":7", "unix:PATH"),
        ("127.0.0.1:", "unix:PATH"),
        ("127.0.0.1:65536", "unix:PATH"),
        ("unix:", "107 bytes"),
        ("unix:" + "/x" * 60, "107 bytes"),
    ],
)
def test_a_wrong_place_is_refused_with_its_cure(word: str, cure: str) -> None:
    with pytest.raises(WrongPlace, match=cure), listener(word):
        pass


def test_loopback_is_taken_and_anywhere_where_that_is_asked_for() -> None:
    with listener("127.0.0.1:0") as made:
        assert shown(made).startswith("127.0.0.1:")
    with listener("0.0.0.0:0", anywhere=True) as made:
        assert shown(made).startswith("0.0.0.0:")


def test_a_unix_socket_is_its_owners_and_gone_at_the_end(folder: Path) -> None:
    path = folder / "a socket"
    with listener(f"unix:{path}") as made:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert shown(made) == f"unix:{path}"
        with pytest.raises(OSError, match="in use"), listener(f"unix:{path}"):
            pass
        assert path.exists()
    assert not path.exists()


def test_the_socket_of_one_who_was_killed_is_no_obstacle(folder: Path) -> None:
    path = folder / "socket"
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(str(path))
        killed.listen()
    with listener(f"unix:{path}"), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))


def test_what_is_no_socket_is_not_removed(folder: Path) -> None:
    path = folder / "file"
    path.write_text("mine")
    with pytest.raises(OSError, match="in use"), listener(f"unix:{path}"):
        pass
    assert path.read_text() == "mine"


def test_one_connection_too_many_is_closed(folder: Path) -> None:
    over = threading.Event()
    begun = threading.Semaphore(0)

    def serve(connection: socket.socket) -> None:
        del connection
        begun.release()
        over.wait(PATIENCE_S)

    with listener(f"unix:{folder}/s") as made, ExitStack() as stack:
        thread = threading.Thread(target=Connections(serve).accept, args=(made,))
        thread.start()
        stack.callback(thread.join)
        stack.callback(made.shutdown, socket.SHUT_RDWR)
        stack.callback(over.set)
        opened = [
            stack.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(MOST_CONNECTIONS + 1)
        ]
        for each in opened:
            each.settimeout(PATIENCE_S)
            each.connect(f"{folder}/s")
        for _ in range(MOST_CONNECTIONS):
            assert begun.acquire(timeout=PATIENCE_S)
        assert opened[-1].recv(1) == b""
