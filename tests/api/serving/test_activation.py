"""Sockets that a supervisor hands over: taken if they are meant for us, refused if they are odd."""

from __future__ import annotations

import http.client
import os
import socket
import stat
import subprocess
import sys
from typing import TYPE_CHECKING, Self

import pytest

from support.ending import end_process
from support.serving import UnixConnection, ask, environment_for_a_service
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# What systemd does between fork and exec: the sockets from 3 on, and its own number in a variable.
_SUPERVISOR = """
import fcntl, os, sys
names, *numbers = sys.argv[1].split(",")
numbers = [int(each) for each in numbers]
spare = [fcntl.fcntl(each, fcntl.F_DUPFD, 100) for each in numbers]
for place, descriptor in enumerate(spare, 3):
    os.dup2(descriptor, place, inheritable=True)
os.environ.setdefault("LISTEN_PID", str(os.getpid()))
os.environ.setdefault("LISTEN_FDS", str(len(numbers)))
os.environ["LISTEN_FDNAMES"] = names
os.execv(sys.executable, [sys.executable, "-m", "farpeek_api", "serve", *sys.argv[2:]])
"""


class Activated:
    """A service that was started with sockets, or failed to."""

    def __init__(
        self, folder: Path, *sockets: socket.socket | int, flags: tuple[str, ...] = (), **env: str
    ) -> None:
        numbers = [each if isinstance(each, int) else each.fileno() for each in sockets]
        given = ",".join(["first:second", *map(str, numbers)])
        self._log = folder / "log"
        with self._log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", _SUPERVISOR, given, *flags],
                pass_fds=numbers,
                stderr=log,
                cwd="/",
                env={**environment_for_a_service(), "XDG_RUNTIME_DIR": str(folder), **env},
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        end_process(self.process)

    @property
    def log(self) -> str:
        return self._log.read_text()

    def urls(self, count: int = 1) -> list[str]:
        """Where it listens, once it does."""
        until(
            lambda: self.log.count("listening on") >= count or self.process.poll() is not None,
            "it listens",
        )
        return [line.rpartition(" ")[2] for line in self.log.splitlines() if "listening" in line]

    def refusal(self) -> str:
        """Its complaint: a single line, with status 2."""
        assert self.process.wait(60) == 2, self.log
        assert self.log.count("\n") == 1, self.log
        return self.log


@pytest.fixture
def unix(folder: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(folder / "given.sock"))
        sock.listen()
        yield sock


@pytest.fixture
def tcp() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock


def test_sockets_take_the_place_of_the_default_and_stay_their_owners(
    folder: Path, unix: socket.socket, tcp: socket.socket
) -> None:
    port = tcp.getsockname()[1]
    with Activated(folder, unix, tcp) as service:
        assert service.urls(2) == [f"unix:{folder}/given.sock", f"http://127.0.0.1:{port}"]
        reply = ask(UnixConnection(folder / "given.sock"), "GET", "/v1/info")
        assert reply.json["listeners"] == service.urls(2)
        # Nobody but the bearer of the token gets in by TCP, and the token is beside the socket.
        assert stat.S_IMODE((folder / "token").stat().st_mode) == 0o600
        service.process.terminate()
        assert service.process.wait(60) == 0
    assert sorted(path.name for path in folder.iterdir()) == ["given.sock", "log"]


def test_a_socket_for_both_families_is_called_by_the_ipv4_address_it_was_called_at(
    folder: Path, unix: socket.socket
) -> None:
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as both:
        port = both.getsockname()[1]
        flags = ("--insecure-listen",)
        with Activated(folder, unix, both, flags=flags) as service:
            service.urls(2)
            headers = {"Authorization": f"Bearer {(folder / 'token').read_text().strip()}"}
            for host in ("127.0.0.1", "127.0.0.9"):
                connection = http.client.HTTPConnection(host, port, timeout=60)
                assert ask(connection, "GET", "/v1/info", headers=headers).status == 200


def test_who_waits_in_the_queue_before_the_start_is_served(
    folder: Path, unix: socket.socket
) -> None:
    connection = UnixConnection(folder / "given.sock")
    connection.connect()
    with Activated(folder, unix):
        assert ask(connection, "GET", "/readyz").status == 200


def test_a_listener_that_is_asked_for_comes_on_top(folder: Path, unix: socket.socket) -> None:
    with Activated(folder, unix, flags=("--listen", f"unix:{folder}/own.sock")) as service:
        assert service.urls(2) == [f"unix:{folder}/given.sock", f"unix:{folder}/own.sock"]
        service.process.terminate()
        assert service.process.wait(60) == 0
    assert sorted(path.name for path in folder.iterdir()) == ["given.sock", "log"]


def test_sockets_for_another_process_are_left_alone(folder: Path, unix: socket.socket) -> None:
    flags = ("--listen", f"unix:{folder}/own.sock")
    with Activated(folder, unix, flags=flags, LISTEN_PID="1") as service:
        assert service.urls() == [f"unix:{folder}/own.sock"]


@pytest.mark.parametrize("count", ["", "x", "-1", "65", "\u0663"])
def test_a_count_that_is_none_is_refused(folder: Path, unix: socket.socket, count: str) -> None:
    with Activated(folder, unix, LISTEN_FDS=count) as service:
        assert "LISTEN_FDS" in service.refusal()


def test_more_than_was_opened_is_refused(folder: Path, unix: socket.socket) -> None:
    with Activated(folder, unix, LISTEN_FDS="60") as service:
        assert "descriptor 4 (second) from the supervisor is no open socket" in service.refusal()


def odd_sockets(folder: Path) -> Iterator[tuple[str, socket.socket]]:
    yield "is no stream socket", socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    yield "is no stream socket", socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    yield "is no stream socket", socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    yield "neither a unix socket with a path", socket.socket(socket.AF_UNIX)
    abstract = socket.socket(socket.AF_UNIX)
    abstract.bind(f"\0{folder}")
    abstract.listen()
    yield "neither a unix socket with a path", abstract
    yield "does not listen", socket.socket(socket.AF_INET)
    client, server = socket.socketpair()
    server.close()
    yield "neither a unix socket with a path", client


def test_what_is_no_listening_unix_or_tcp_socket_is_refused_by_name(
    folder: Path, unix: socket.socket
) -> None:
    for complaint, odd in odd_sockets(folder):
        with odd, Activated(folder, unix, odd) as service:
            refusal = service.refusal()
            assert complaint in refusal
            assert "descriptor 4 (second)" in refusal
            assert "ListenStream=" in refusal


def test_a_file_is_refused(folder: Path) -> None:
    with (folder / "file").open("w") as file, Activated(folder, file.fileno()) as service:
        assert "descriptor 3 (first) from the supervisor is no open socket" in service.refusal()


def test_plain_http_that_others_can_reach_is_refused_as_listen_refuses_it(folder: Path) -> None:
    with socket.create_server(("0.0.0.0", 0)) as sock:  # noqa: S104 - what is refused
        with Activated(folder, sock) as service:
            refusal = service.refusal()
            assert "plain http that other hosts can reach" in refusal
            assert "--insecure-listen" in refusal
        with Activated(folder, sock, flags=("--no-auth", "--insecure-listen")) as service:
            assert "--no-auth" in service.refusal()
        own = f"unix:{folder}/own.sock"  # the token goes beside it
        flags = ("--insecure-listen", "--listen", own)
        with Activated(folder, sock, flags=flags) as service:
            assert service.urls(2) == [f"http://0.0.0.0:{sock.getsockname()[1]}", own]


def test_no_child_takes_the_sockets_for_its_own(folder: Path, unix: socket.socket) -> None:
    code = (
        "import os\nfrom farpeek_api.serving import activation\n"
        "os.environ['LISTEN_PID'] = str(os.getpid())\n"
        "taken = activation.take()\n"
        "assert [str(each) for each in taken] == ['unix:' + os.environ['WHERE']]\n"
        "assert not os.get_inheritable(3)\n"
        "assert not [name for name in os.environ if name.startswith('LISTEN_')]\n"
        "assert activation.take() == []\n"
    )
    os.set_inheritable(unix.fileno(), True)  # noqa: FBT003 - its only way
    shell = f'exec 3<&{unix.fileno()} && exec "$0" -c "$1"'
    environment = {"LISTEN_FDS": "1", "WHERE": f"{folder}/given.sock"}
    subprocess.run(
        ["bash", "-c", shell, sys.executable, code],
        check=True,
        timeout=60,
        close_fds=False,
        env={**environment_for_a_service(), **environment},
    )
