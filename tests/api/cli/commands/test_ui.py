"""`farpeek ui`: what it prints, what it opens, and how it ends."""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING

import pytest

from farpeek_api.cli import statuses
from farpeek_api.cli.ui import opening
from support.commands import Screen, run
from support.policies import Policed, entry
from support.ui import Ui
from support.waiting import until
from support.wire import Served

if TYPE_CHECKING:
    from pathlib import Path


def test_it_prints_the_address_and_ends_by_ctrl_c_with_nothing_left(url: str) -> None:
    with Screen("ui", "--no-browser", columns=200) as shown:
        shown.expect("Ctrl-C")
        address = next(line for line in shown.lines if line.startswith("http://127.0.0.1:"))
        port = int(address.partition("/#")[0].rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), 20) as silent:
            shown.process.sendintr()
            assert shown.finish() == statuses.INTERRUPTED
            with contextlib.suppress(ConnectionResetError):  # if nobody has taken it yet
                assert silent.recv(1) == b""
        assert "Traceback" not in "\n".join(shown.lines)
        with socket.create_server(("127.0.0.1", port)):
            pass  # it is free again
    assert url


def test_a_port_may_be_named_unless_somebody_has_it(url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ran = run("ui", "--no-browser", "--port", port)
        assert (ran.status, ran.output) == (statuses.FAILED, b"")
        assert f"127.0.0.1:{port}: Address already in use" in ran.error
    with Ui(url, "--port", port) as ui:
        assert ui.port == port


@pytest.mark.parametrize(
    "words",
    [["--port", "65536"], ["--port", "0.0.0.0:80"], ["--listen", "0.0.0.0:80"], ["--host", "::"]],
)
def test_it_listens_on_this_host_alone(words: list[str]) -> None:
    ran = run("ui", *words)
    assert ran.status == statuses.USAGE
    assert ran.error.count("\n") == 1


def test_a_target_that_is_not_there_is_told_before_anything_is_opened() -> None:
    ran = run("ui", "comm=nobody-is-called-so", "--no-browser")
    assert ran.status == statuses.NO_TARGET
    assert not ran.output


def test_a_service_without_a_page_is_told(folder: Path) -> None:
    with Served(folder, "--no-ui") as service:
        ran = run("ui", "--no-browser", "--url", f"unix:{service.path}")
    assert ran.status == statuses.FAILED
    assert "serves no page" in ran.error
    assert "--no-ui" in ran.error


def test_who_is_not_let_in_is_told_so(served: Served, folder: Path) -> None:
    wrong = folder / "token"
    wrong.write_text("wrong\n")
    url = f"http://127.0.0.1:{served.port}"
    ran = run("ui", "--no-browser", "--url", url, "--token-file", wrong)
    assert ran.status == statuses.NOT_ALLOWED
    assert not ran.output


def test_who_may_not_inspect_gets_the_page_all_the_same(folder: Path) -> None:
    token = "the-token"  # noqa: S105 - of the test
    file = folder / "token"
    file.write_text(f"{token}\n")
    with (
        Policed(folder, entry("one", token, ["read"])) as service,
        Ui(f"unix:{service.path}", "--token-file", file) as ui,
    ):
        assert ui.ask("GET", "/v1/info").slug == "forbidden"


@pytest.mark.parametrize(
    ("variables", "is_seen"),
    [
        ({}, False),
        ({"DISPLAY": ":0"}, True),
        ({"WAYLAND_DISPLAY": "wayland-0"}, True),
        ({"DISPLAY": "localhost:10.0", "SSH_CONNECTION": "192.0.2.1 1 192.0.2.2 22"}, False),
        ({"DISPLAY": ":0", "SSH_TTY": "/dev/pts/1"}, False),
    ],
)
def test_a_browser_is_opened_where_somebody_sees_it(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], *, is_seen: bool
) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SSH_CONNECTION", "SSH_TTY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert opening.is_seen_here() == is_seen


@pytest.mark.parametrize("words", [[], ["--no-browser"]])
def test_the_browser_of_the_user_is_given_the_address(folder: Path, words: list[str]) -> None:
    told = folder / "told"
    browser = folder / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" >{told}.new && mv {told}.new {told}\n')
    browser.chmod(0o755)
    environment = {"DISPLAY": ":0", "BROWSER": str(browser), "SSH_CONNECTION": "", "SSH_TTY": ""}
    with Screen("ui", *words, columns=200, environment=environment) as shown:
        shown.expect("Ctrl-C")
        address = next(line for line in shown.lines if line.startswith("http://127.0.0.1:"))
        if not words:
            until(told.exists, "the browser is started")
            assert told.read_text().strip() == address
        shown.process.sendintr()
        assert shown.finish() == statuses.INTERRUPTED
    assert told.exists() == (not words)
