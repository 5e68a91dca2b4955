"""Sockets are the own user's from the first moment, and nobody else's are touched."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import stat
from typing import TYPE_CHECKING

import pytest

from farpeek_api.serving.listeners import (
    ListenError,
    TcpAddress,
    UnixAddress,
    default_socket_path,
    listen_tcp,
    listen_unix,
    parse_address,
)

if TYPE_CHECKING:
    from pathlib import Path

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="changes owners")


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://127.0.0.1:7335", TcpAddress("127.0.0.1", 7335)),
        ("http://[::1]:0", TcpAddress("::1", 0)),
        ("http://LOCALHOST:80/", TcpAddress("localhost", 80)),
    ],
)
def test_urls_are_parsed(url: str, address: TcpAddress) -> None:
    assert parse_address(url) == address


@pytest.mark.parametrize("url", ["unix:/run/x.sock", "unix:///run/x.sock"])
def test_a_unix_url_has_an_absolute_path(url: str) -> None:
    assert str(parse_address(url)) == "unix:/run/x.sock"


def test_the_default_socket_is_where_the_contract_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/1000")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert str(default_socket_path()) == "/run/farpeek/farpeek.sock"
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert str(default_socket_path()) == "/run/user/1000/farpeek/farpeek.sock"
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert str(default_socket_path()) == "/tmp/farpeek-1000/farpeek.sock"  # noqa: S108 - the contract's


def test_folder_and_socket_are_ours_alone(folder: Path) -> None:
    listener = listen_unix(UnixAddress(folder / "run" / "x.sock"))
    assert mode_of(folder / "run") == 0o700
    assert mode_of(folder / "run" / "x.sock") == 0o600
    listener.close()
    assert not (folder / "run" / "x.sock").exists()


def test_the_socket_is_narrow_before_anybody_could_connect(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, int]] = []
    path = folder / "x.sock"

    class Watched(socket.socket):
        def listen(self, *arguments: int) -> None:
            seen.append((mode_of(path), path.lstat().st_gid))
            super().listen(*arguments)

    monkeypatch.setattr(socket, "socket", Watched)
    listen_unix(UnixAddress(path), 0o660, os.getegid()).close()
    assert seen == [(0o660, os.getegid())]


@needs_root
def test_a_group_gets_into_folder_and_socket(folder: Path) -> None:
    listener = listen_unix(UnixAddress(folder / "run" / "x.sock"), 0o660, 4242)
    for path, mode in ((folder / "run", 0o710), (folder / "run" / "x.sock", 0o660)):
        assert (mode_of(path), path.lstat().st_gid) == (mode, 4242)
    listener.close()


@needs_root
def test_a_folder_that_the_group_cannot_pass_is_told(folder: Path) -> None:
    run = folder / "run"
    listen_unix(UnixAddress(run / "x.sock")).close()  # made without a group
    with pytest.raises(ListenError, match=r"the group 4242 cannot pass through .*/run: chgrp"):
        listen_unix(UnixAddress(run / "x.sock"), 0o660, 4242)
    assert (mode_of(run), run.stat().st_gid) == (0o700, 0)
    os.chown(run, 0, 4242)
    run.chmod(0o710)
    listen_unix(UnixAddress(run / "x.sock"), 0o660, 4242).close()
    run.chmod(0o701)
    with pytest.raises(ListenError, match="cannot pass through"):
        listen_unix(UnixAddress(run / "x.sock"), 0o660, 4242)
    os.chown(run, 0, 0)
    listen_unix(UnixAddress(run / "x.sock"), 0o660, 4242).close()


def test_a_group_that_the_service_is_no_member_of_is_told(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "chown", refuse)
    for path in (folder / "x.sock", folder / "run" / "x.sock"):
        with pytest.raises(
            ListenError, match=r"to the group 4242: .*; run the service as a member"
        ):
            listen_unix(UnixAddress(path), 0o660, 4242)
    assert not (folder / "run").exists()


def test_the_umask_is_as_before(folder: Path) -> None:
    before = os.umask(0o022)
    try:
        listen_unix(UnixAddress(folder / "x.sock")).close()
        assert os.umask(0o022) == 0o022
    finally:
        os.umask(before)


def test_a_living_server_is_left_alone(folder: Path) -> None:
    address = UnixAddress(folder / "x.sock")
    first = listen_unix(address)
    with pytest.raises(ListenError, match=r"another server is listening on .*/x\.sock"):
        listen_unix(address)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(address.path))
    first.close()


def test_a_living_server_with_a_full_queue_is_left_alone(folder: Path) -> None:
    path = folder / "x.sock"
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind(str(path))
        server.listen(0)
        client.connect(str(path))
        with pytest.raises(ListenError, match="another server"):
            listen_unix(UnixAddress(path))
        assert path.exists()


def test_a_lock_that_anybody_can_hold_keeps_nobody_from_starting(folder: Path) -> None:
    path = folder / "x.sock"
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        listener = listen_unix(UnixAddress(path))
    finally:
        os.close(descriptor)
    assert mode_of(path) == 0o600
    listener.close()


def test_a_stale_socket_is_replaced(folder: Path) -> None:
    path = folder / "x.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    listener = listen_unix(UnixAddress(path))
    assert mode_of(path) == 0o600
    listener.close()


@pytest.mark.parametrize("kind", ["file", "folder", "link"])
def test_what_is_no_socket_is_left_alone(folder: Path, kind: str) -> None:
    path = folder / "x.sock"
    match kind:
        case "file":
            path.write_text("precious")
        case "folder":
            path.mkdir()
        case _:
            path.symlink_to("/nowhere")
    before = path.lstat()
    with pytest.raises(ListenError, match="is no socket"):
        listen_unix(UnixAddress(path))
    assert path.lstat() == before


def test_only_the_own_socket_is_removed_at_the_end(folder: Path) -> None:
    path = folder / "x.sock"
    listener = listen_unix(UnixAddress(path))
    path.unlink()
    path.write_text("somebody else's")
    listener.close()
    assert path.read_text() == "somebody else's"


def test_a_folder_that_cannot_be_made_is_told(folder: Path) -> None:
    with pytest.raises(ListenError, match="cannot make the folder"):
        listen_unix(UnixAddress(folder / "a" / "b" / "x.sock"))


def test_a_file_in_place_of_the_folder_is_refused(folder: Path) -> None:
    (folder / "run").write_text("")
    with pytest.raises(ListenError, match="is no folder"):
        listen_unix(UnixAddress(folder / "run" / "x.sock"))


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o722])
def test_a_folder_in_which_others_can_write_is_refused(folder: Path, mode: int) -> None:
    (folder / "run").mkdir()
    (folder / "run").chmod(mode)
    with pytest.raises(ListenError, match="others can write"):
        listen_unix(UnixAddress(folder / "run" / "x.sock"))


def test_a_sticky_folder_will_do(folder: Path) -> None:
    (folder / "run").mkdir()
    (folder / "run").chmod(0o1777)
    listen_unix(UnixAddress(folder / "run" / "x.sock")).close()


@needs_root
def test_a_folder_of_somebody_else_is_refused(folder: Path) -> None:
    (folder / "run").mkdir()
    os.chown(folder / "run", 4242, 4242)
    with pytest.raises(ListenError, match="belongs to somebody else"):
        listen_unix(UnixAddress(folder / "run" / "x.sock"))


@needs_root
def test_somebody_elses_link_to_a_good_folder_is_refused(folder: Path) -> None:
    (folder / "good").mkdir()
    (folder / "run").symlink_to(folder / "good")
    os.chown(folder / "run", 4242, 4242, follow_symlinks=False)
    with pytest.raises(ListenError, match="belongs to somebody else"):
        listen_unix(UnixAddress(folder / "run" / "x.sock"))


def test_port_zero_becomes_a_real_one() -> None:
    (listener,) = listen_tcp(TcpAddress("127.0.0.1", 0))
    assert str(listener) == f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
    assert not str(listener).endswith(":0")
    listener.close()


def test_a_port_in_use_is_told() -> None:
    (listener,) = listen_tcp(TcpAddress("127.0.0.1", 0))
    with pytest.raises(ListenError, match="Address already in use"):
        listen_tcp(TcpAddress("127.0.0.1", listener.socket.getsockname()[1]))
    listener.close()


def test_a_name_without_an_address_is_told() -> None:
    with pytest.raises(ListenError, match=r"cannot listen on http://192\.0\.2\.1:1"):
        listen_tcp(TcpAddress("192.0.2.1", 1))


@pytest.mark.parametrize("slashes", ["/", "///", "////", "/////"])
def test_an_address_that_was_taken_is_taken_as_it_is_shown(slashes: str) -> None:
    address = parse_address(f"unix:{slashes}run/x.sock")
    assert address == parse_address("unix:/run/x.sock")
    assert parse_address(str(address)) == address


def test_a_port_of_thousands_of_digits_is_refused_in_our_words() -> None:
    with pytest.raises(ValueError, match="needs a port"):
        parse_address("http://127.0.0.1:" + "1" * 5000)
