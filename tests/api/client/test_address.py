"""Where a client looks for its service, and for the token."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from farpeek_api.client import Unreachable, address
from farpeek_api.serving.listeners import default_socket_path

if TYPE_CHECKING:
    from collections.abc import Callable

    from farpeek_api.client import Client
    from support.wire import Served


@pytest.fixture
def default(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Path:
    """Return a default socket's path; nothing is there."""
    path = folder / "farpeek.sock"
    monkeypatch.setattr(address, "default_socket", lambda: path)
    return path


@pytest.mark.parametrize("uid", [0, 1000])
@pytest.mark.parametrize("runtime", [None, "/run/user/1000"])
def test_it_looks_where_the_service_listens(
    monkeypatch: pytest.MonkeyPatch, uid: int, runtime: str | None
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    if runtime is not None:
        monkeypatch.setenv("XDG_RUNTIME_DIR", runtime)
    assert address.default_socket() == default_socket_path()


def test_what_is_given_goes_before_the_environment_before_the_socket_before_tcp(
    monkeypatch: pytest.MonkeyPatch, default: Path
) -> None:
    assert address.find().base == f"http://127.0.0.1:{address.PORT}"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(default))
        listener.listen()
        assert address.find().socket == default
        monkeypatch.setenv("FARPEEK_URL", "http://here:1")
        assert address.find().base == "http://here:1"
        assert address.find("unix:///a/b").socket == Path("/a/b")


def test_a_default_socket_that_nobody_listens_on_is_an_error_with_the_cure(
    connect: Callable[..., Client], default: Path
) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(default))
    with pytest.raises(Unreachable, match=r"nobody listens on .*start `farpeek serve`"):
        connect()
    default.unlink()
    default.write_text("")
    with pytest.raises(Unreachable, match="no socket"):
        connect()


@pytest.mark.parametrize(
    "url",
    [
        *("farpeek", "unix:", "unix:relative", "ftp://x", "http://"),
        *("http://user:secret@host", "http://host/?q", "http://host/#f"),
    ],
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"address|begins with /"):
        address.find(url)


def test_a_token_is_found_beside_the_default_socket_or_where_it_is_said_to_be(
    monkeypatch: pytest.MonkeyPatch, default: Path, folder: Path
) -> None:
    url = "http://127.0.0.1:1"
    assert address.find(url).token is None
    default.with_name("token").write_text("# one a line\n\n  beside \nother\n")
    assert address.find(url).token == "beside"  # noqa: S105 - no secret
    named = folder / "named"
    named.write_text("named\n")
    monkeypatch.setenv("FARPEEK_TOKEN_FILE", str(named))
    assert address.find(url).token == "named"  # noqa: S105 - no secret
    assert address.find(url, "given").token == "given"  # noqa: S105 - no secret
    assert "given" not in repr(address.find(url, "given"))
    named.write_text("# none\n")
    with pytest.raises(ValueError, match="no token"):
        address.find(url)
    named.unlink()
    with pytest.raises(FileNotFoundError):
        address.find(url)


def test_the_token_of_this_host_is_shown_to_no_other(default: Path) -> None:
    default.with_name("token").write_text("secret\n")
    for here in ("http://127.0.0.1:1", "http://[::1]:1", "http://localhost"):
        assert address.find(here).token is not None
    for elsewhere in (
        "http://192.0.2.1:7335",
        "https://example.org",
        "http://localhost.example.org",
    ):
        assert address.find(elsewhere).token is None


def test_a_socket_of_ones_own_needs_no_token(default: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(default))
    default.with_name("token").write_text("left over\n")
    assert address.find(f"unix:{default}").token is None


def test_a_service_is_reached_by_tcp_with_its_token(
    connect: Callable[..., Client], served: Served
) -> None:
    token = address.read_token(served.path.with_name("token"))
    assert connect(f"http://127.0.0.1:{served.port}", token=token).info()["api"] == "v1"


def test_proxies_of_the_environment_are_not_asked(
    monkeypatch: pytest.MonkeyPatch, connect: Callable[..., Client], served: Served
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    token = address.read_token(served.path.with_name("token"))
    assert connect(f"http://127.0.0.1:{served.port}", token=token).info()["api"] == "v1"
