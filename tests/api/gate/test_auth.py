"""Who gets in, by which way, and what web pages try."""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from farpeek.kernel import users
from farpeek_api.gate import auth
from farpeek_api.serving.listeners import is_loopback, is_wildcard, plain_host
from support.wire import Served, ask, parse

if TYPE_CHECKING:
    from collections.abc import Iterator

STRANGER = 4242

_AS_STRANGER = """
import http.client, os, socket, sys
os.setgroups([])
os.setresgid(*[int(sys.argv[2])] * 3)
os.setresuid(*[int(sys.argv[2])] * 3)
sock = socket.socket(socket.AF_UNIX)
sock.connect(sys.argv[1])
connection = http.client.HTTPConnection("localhost")
connection.sock = sock
headers = {"Authorization": sys.argv[4]} if len(sys.argv) > 4 else {}
connection.request("GET", sys.argv[3], headers=headers)
response = connection.getresponse()
print(response.status, response.getheader("WWW-Authenticate"), response.read().decode())
"""

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="acts as another user")


def as_stranger(served: Served, path: str, *authorization: str) -> str:
    """Ask as another user; status, WWW-Authenticate and body in a line."""
    command = [sys.executable, "-c", _AS_STRANGER, str(served.path), str(STRANGER), path]
    done = subprocess.run(
        [*command, *authorization], check=True, capture_output=True, text=True, cwd="/"
    )
    return done.stdout.strip()


def token_of(served: Served) -> str:
    return (served.path.parent / "token").read_text().strip()


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture
def open_to_strangers(folder: Path) -> Iterator[Served]:
    """Run a service whose socket everybody can connect to, with one token."""
    token = folder / "given"
    token.write_text("stranger-token\n")
    token.chmod(0o600)
    (folder / "run").mkdir(mode=0o711)
    (folder / "run").chmod(0o711)
    with Served(folder, "--socket-mode", "0666", "--token-file", str(token)) as service:
        yield service


def test_the_own_user_gets_in_by_the_unix_socket(served: Served) -> None:
    assert served.request("GET", "/v1/info").status == 200


def test_a_credential_that_is_sent_is_judged_on_the_unix_socket_too(served: Served) -> None:
    """Behind a proxy that runs as root, everybody would be root."""
    for wrong in (bearer("wrong"), {"Authorization": "Basic eDp5"}, {"Authorization": ""}):
        reply = served.request("GET", "/v1/info", headers=wrong)
        assert (reply.status, reply.slug) == (401, "unauthenticated")
    assert served.request("GET", "/v1/info", headers=bearer(token_of(served))).status == 200


def test_a_name_without_a_dot_is_a_host_of_ours_on_the_unix_socket_only(served: Served) -> None:
    for host in ("farpeek", "unix", "farpeek:80"):
        assert served.request("GET", "/v1/info", headers={"Host": host}).status == 200
        headers = {"Host": host, **bearer(token_of(served))}
        assert served.request_tcp("GET", "/v1/info", headers).status == 403


@pytest.mark.parametrize(
    "target", ["http://evil.example/v1/info", "https://192.0.2.1:7335/v1/info"]
)
def test_a_target_that_names_a_foreign_host_is_forbidden(served: Served, target: str) -> None:
    ours = b"Host: localhost\r\nConnection: close\r\n\r\n"
    reply = parse(served.exchange(b"GET %b HTTP/1.1\r\n%b" % (target.encode(), ours)))
    assert (reply.status, reply.slug) == (403, "forbidden")
    path = b"GET http://localhost:7335/v1/info HTTP/1.1\r\n"
    assert parse(served.exchange(path + ours)).status == 200


def test_an_ipv4_address_is_the_same_however_it_is_written() -> None:
    assert is_loopback("::ffff:127.0.0.1")
    assert not is_loopback("::ffff:192.0.2.1")
    assert is_wildcard("::ffff:0.0.0.0")
    assert plain_host("[::FFFF:192.0.2.1]") == plain_host("192.0.2.1")


@needs_root
def test_a_stranger_on_the_unix_socket_needs_a_token(open_to_strangers: Served) -> None:
    wrong: list[tuple[str, ...]] = [(), ("Bearer wrong",), ("Basic c3RyYW5nZXI=",), ("Bearer",)]
    for authorization in wrong:
        answer = as_stranger(open_to_strangers, "/v1/info", *authorization)
        assert answer.startswith("401 Bearer "), answer
        assert "urn:farpeek:problem:unauthenticated" in answer
    for right in ("Bearer stranger-token", "bearer  stranger-token"):
        assert as_stranger(open_to_strangers, "/v1/info", right).startswith("200 ")
    assert "stranger-token" not in open_to_strangers.log
    assert as_stranger(open_to_strangers, "/livez").startswith("200 ")


@needs_root
def test_a_stranger_gets_in_where_nobody_is_asked(folder: Path) -> None:
    (folder / "run").mkdir()
    (folder / "run").chmod(0o711)
    with Served(folder, "--socket-mode", "0666", "--no-auth") as service:
        assert as_stranger(service, "/v1/info").startswith("200 ")
        assert "WARNING" in service.log
        assert "--no-auth" in service.log


def test_tcp_needs_a_token(served: Served) -> None:
    for headers in ({}, bearer("wrong"), bearer(""), {"Authorization": "Basic eDp5"}):
        reply = served.request_tcp("GET", "/v1/info", headers)
        assert (reply.status, reply.slug) == (401, "unauthenticated")
        assert reply.headers["www-authenticate"] == "Bearer"
    assert served.request_tcp("GET", "/v1/info", bearer(token_of(served))).status == 200
    assert token_of(served) not in served.log


def test_nothing_but_the_probes_is_there_without_a_token(served: Served) -> None:
    assert served.request_tcp("GET", "/livez").json == {"status": "ok"}
    assert served.request_tcp("GET", "/readyz").json == {"status": "ready"}
    for path in (
        "/v1/targets",
        "/v1/events",
        "/nowhere",
        "/livez/",
        "//livez",
        "/livez/../v1/info",
    ):
        assert served.request_tcp("GET", path).status in (401, 404)
        assert served.request_tcp("GET", path).status == 401, path


@pytest.mark.parametrize(
    "host",
    [
        *("localhost", "localhost:7335", "LOCALHOST.", "127.0.0.1", "127.9.9.9:1", "[::1]"),
        *("[0:0:0:0:0:0:0:1]:80",),
    ],
)
def test_a_loopback_name_is_a_host_of_ours(served: Served, host: str) -> None:
    assert served.request("GET", "/v1/info", headers={"Host": host}).status == 200


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "evil.example:7335", "localhost.evil.example", "127.0.0.1.evil.example"),
        *("", "192.0.2.1", "user@localhost", "[::2]", "localhost:x", "localhost, evil.example"),
        *("0.0.0.0", "2130706433"),  # noqa: S104 - to be refused
    ],
)
def test_any_other_host_is_forbidden(served: Served, host: str) -> None:
    reply = served.request("GET", "/v1/info", headers={"Host": host})
    assert (reply.status, reply.slug) == (403, "forbidden")
    headers = {"Host": host, **bearer(token_of(served))}
    assert served.request_tcp("GET", "/v1/info", headers).status == 403


def test_probes_may_call_by_any_name(served: Served) -> None:
    for path in ("/livez", "/readyz"):
        reply = served.request_tcp("GET", path, {"Host": "10.1.2.3", "Origin": "http://x"})
        assert reply.status == 200


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "null", "http://localhost:3000", "https://127.0.0.1", "file://", ""],
)
def test_a_page_of_another_origin_is_forbidden(served: Served, origin: str) -> None:
    headers = {"Host": "localhost:7335", "Origin": origin}
    reply = served.request("GET", "/v1/info", headers=headers)
    assert (reply.status, reply.slug) == (403, "forbidden")
    assert not [name for name in reply.headers if name.startswith("access-control")]


@pytest.mark.parametrize("origin", ["http://localhost:7335", "https://LOCALHOST:7335"])
def test_a_page_of_the_same_origin_gets_in(served: Served, origin: str) -> None:
    headers = {"Host": "localhost:7335", "Origin": origin}
    assert served.request("GET", "/v1/info", headers=headers).status == 200


def test_no_answer_may_be_kept_or_guessed_at(served: Served) -> None:
    for path in ("/v1/info", "/nowhere"):
        headers = served.request("GET", path).headers
        assert headers["cache-control"] == "no-store"
        assert headers["x-content-type-options"] == "nosniff"


def test_an_allowed_name_is_a_host_of_ours(folder: Path) -> None:
    with Served(folder, "--allow-host", "tools.example") as service:
        assert service.request("GET", "/v1/info", headers={"Host": "Tools.Example:1"}).status == 200
        assert service.request("GET", "/v1/info", headers={"Host": "x.example"}).status == 403


def test_an_allowed_wildcard_stands_for_one_label(folder: Path) -> None:
    with Served(folder, "--allow-host", "*.Tools.example") as service:
        for host, status in (
            ("10-1-2-3.tools.example:7335", 200),
            ("A.TOOLS.EXAMPLE.", 200),
            ("tools.example", 403),
            ("a.b.tools.example", 403),
            (".tools.example", 403),
            ("a.tools.example.evil.example", 403),
            ("atools.example", 403),
        ):
            reply = service.request("GET", "/v1/info", headers={"Host": host})
            assert reply.status == status, host


def test_a_wildcard_listener_answers_to_the_address_that_was_called(folder: Path) -> None:
    flags = ["--listen", "http://0.0.0.0:0", "--insecure-listen"]
    with Served(folder, *flags) as service:
        token = bearer(token_of(service))
        for called, host, status in (
            ("127.0.0.2", "127.0.0.2", 200),
            ("127.0.0.1", "evil.example", 403),
            ("127.0.0.1", "192.0.2.1", 403),
            ("127.0.0.1", "0.0.0.0", 200),  # noqa: S104 - the listener's own name
        ):
            reply = service.request_tcp("GET", "/v1/info", {"Host": host, **token}, called)
            assert reply.status == status, host
        own = own_address()
        if own is not None:
            connection = http.client.HTTPConnection(own, service.port, timeout=60)
            assert ask(connection, "GET", "/v1/info", headers=token).status == 200


def own_address() -> str | None:
    """Return an IPv4 address of this machine that is not loopback, if it has one."""
    lines = Path("/proc/net/fib_trie").read_text().splitlines()
    for before, line in pairwise(lines):
        address = before.strip().removeprefix("|-- ")
        if "host LOCAL" in line and not address.startswith("127."):
            return address
    return None


def test_a_group_readable_token_file_stops_the_start(folder: Path) -> None:
    token = folder / "given"
    token.write_text("given-token\n")
    token.chmod(0o644)
    with pytest.raises(AssertionError, match="others can read or write") as caught:
        Served(folder, "--token-file", str(token))
    assert "given-token" not in str(caught.value)


def test_given_tokens_replace_the_own_one(folder: Path) -> None:
    token = folder / "given"
    token.write_text("given-token\n")
    token.chmod(0o600)
    flags = ["--listen", "http://127.0.0.1:0", "--token-file", str(token)]
    with Served(folder, *flags) as service:
        assert not (service.path.parent / "token").exists()
        assert service.request_tcp("GET", "/v1/info", bearer("given-token")).status == 200


@pytest.mark.parametrize(
    ("own", "all_mapped", "trusted"),
    [
        (0, True, {0}),
        (1000, True, {0, 1000}),
        (1000, False, {0, 1000}),
        (65534, True, {0, 65534}),
        (65534, False, {0}),
    ],
)
def test_the_overflow_uid_is_our_own_only_where_all_are_mapped(
    monkeypatch: pytest.MonkeyPatch,
    own: int,
    all_mapped: bool,  # noqa: FBT001 - a parameter of pytest
    trusted: set[int],
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: own)
    monkeypatch.setattr(users, "overflow_uid", lambda: 65534)
    monkeypatch.setattr(users, "all_are_mapped", lambda: all_mapped)
    assert auth.trusted_uids() == trusted


@pytest.mark.parametrize("path", ["/livez", "/v1/info", "/v1/targets", "/nowhere"])
def test_no_answer_tells_what_the_service_is_built_of(served: Served, path: str) -> None:
    assert served.request("GET", path).headers["server"] == "farpeek"
