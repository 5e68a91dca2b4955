"""Start and end of the service, and the commands around it."""

from __future__ import annotations

import json
import mmap
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from farpeek_api.cli import health
from support.ending import ended
from support.forked import Forked
from support.sample import Sample
from support.waiting import until
from support.wire import Events, Served, parse, receive_all

if TYPE_CHECKING:
    from collections.abc import Iterator

FARPEEK = [sys.executable, "-m", "farpeek_api"]


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*FARPEEK, *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **environment},
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_status_0_and_leaves_nothing(
    folder: Path, number: signal.Signals
) -> None:
    with Served(folder, "--listen", "http://127.0.0.1:0") as service:
        assert (service.path.parent / "token").exists()
        assert service.stop(number) == 0
        assert list(service.path.parent.iterdir()) == []
        assert "ERROR" not in service.log


_HELD = re.compile(
    r"^(PPid|Uid|Gid|SigBlk|SigIgn|SigCgt|Cap\w+|NoNewPrivs|Seccomp):.*$", re.MULTILINE
)


def test_a_service_that_tests_fork_is_as_one_that_is_executed(folder: Path) -> None:
    found = []
    for under in ((), ("env",)):
        with Served(folder, under=under) as service:
            proc = Path(f"/proc/{service.process.pid}")
            held = sorted(str(each.readlink()).split(":")[0] for each in (proc / "fd").iterdir())
            status = [match[0] for match in _HELD.finditer((proc / "status").read_text())]
            info = service.request("GET", "/v1/info").json
            found.append(
                (type(service.process), held, status, info["capabilities"], info["limits"])
            )
    (forked, *as_forked), (executed, *as_executed) = found
    assert (forked, executed) == (Forked, subprocess.Popen)
    assert as_forked == as_executed


def test_waits_and_streams_end_with_the_service(folder: Path) -> None:
    with Sample() as process, Served(folder) as service, service.connect() as waiting:
        target = service.register(process.pid)
        # A service that only waits for what runs gives up before this is over.
        waiting.sendall(
            f"GET /v1/targets/{target}?wait=exit&timeout_s=300 HTTP/1.1\r\n"
            "Host: localhost\r\n\r\n".encode()
        )
        with Events(service.path) as events:
            # The wait has begun once a later request on another connection is answered.
            assert events.next_block()
            service.process.send_signal(signal.SIGTERM)
            assert events.response.read() == b""
        reply = parse(receive_all(waiting))
        assert service.process.wait(60) == 0
        assert (reply.status, reply.slug) == (503, "shutting-down")
        assert reply.headers["retry-after"]
        assert reply.headers["connection"] == "close"


def test_what_runs_is_finished_and_what_is_new_is_refused(folder: Path) -> None:
    payload = b'{"pid": 2147483647}'
    with Served(folder) as service:
        with service.connect() as running, service.connect() as idle:
            head = f"Content-Type: application/json\r\nContent-Length: {len(payload)}\r\n\r\n"
            running.sendall(b"POST /v1/targets HTTP/1.1\r\nHost: localhost\r\n" + head.encode())
            idle.sendall(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert parse(idle.recv(65536)).status == 200
            service.process.send_signal(signal.SIGTERM)
            until(lambda: not service.path.exists(), "it takes no connections any more")
            idle.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert parse(idle.recv(65536)).status == 200
            idle.sendall(b"GET /v1/info HTTP/1.1\r\nHost: localhost\r\n\r\n")
            refused = parse(receive_all(idle))
            assert (refused.status, refused.slug) == (503, "shutting-down")
            running.sendall(payload)
            assert parse(receive_all(running)).slug in ("no-such-process", "shutting-down")
        assert service.process.wait(60) == 0


def _begin(service: Served, sock: socket.socket) -> None:
    """Begin a request whose body does not come."""
    sock.sendall(
        b"POST /v1/targets HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Content-Length: 10\r\n\r\n"
    )
    # It has begun once a later one on another connection is answered.
    assert service.request("GET", "/readyz").status == 200


def test_who_never_finishes_does_not_hold_up_the_end(folder: Path) -> None:
    # The deadline is longer than anybody waits for the end here.
    with Served(folder, "--deadline", "3600") as service, service.connect() as sock:
        _begin(service, sock)
        assert service.stop() == 0


def test_another_service_can_begin_while_this_one_still_ends(folder: Path) -> None:
    """Whatever hangs in it, its path is free, and nobody waits in its queue for nothing."""
    with Served(folder, "--deadline", "60") as service, service.connect() as sock:
        _begin(service, sock)
        service.process.send_signal(signal.SIGTERM)
        until(lambda: not service.path.exists(), "the path is free")
        assert service.process.poll() is None
        with Served(folder) as following:
            assert following.request("GET", "/readyz").status == 200


def test_a_second_signal_ends_it_at_once(folder: Path) -> None:
    with Served(folder, "--deadline", "60") as service, service.connect() as sock:
        _begin(service, sock)
        service.process.send_signal(signal.SIGTERM)
        until(lambda: not service.path.exists(), "it is stopping")
        assert service.stop() == 128 + signal.SIGTERM
        assert "Traceback" not in service.log


def test_a_second_server_on_the_same_path_says_so(folder: Path) -> None:
    with Served(folder) as service:
        done = run("serve", "--listen", f"unix:{service.path}")
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1
        assert str(service.path) in done.stderr
        assert service.request("GET", "/readyz").status == 200


def test_a_socket_left_by_a_killed_service_is_replaced(folder: Path) -> None:
    with Served(folder) as service:
        service.process.kill()
        service.process.wait()
        assert service.path.exists()
    with Served(folder) as service:
        assert service.request("GET", "/readyz").status == 200


@pytest.fixture
def supervisor() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.settimeout(60)
        yield sock


@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_a_supervisor_is_told(folder: Path, supervisor: socket.socket, kind: str) -> None:
    name = str(folder / "notify") if kind == "path" else f"@{folder}"
    supervisor.bind(name.replace("@", "\0"))
    with Served(folder, environment={"NOTIFY_SOCKET": name}) as service:
        assert supervisor.recv(100) == b"READY=1"
        assert service.stop() == 0
        assert supervisor.recv(100) == b"STOPPING=1"


def test_a_supervisor_that_is_not_there_is_only_a_warning(folder: Path) -> None:
    with Served(folder, environment={"NOTIFY_SOCKET": str(folder / "nobody")}) as service:
        assert service.request("GET", "/readyz").status == 200
        until(lambda: "WARNING" in service.log, "it warns")


def test_text_logs_have_time_level_and_name(folder: Path) -> None:
    with Served(folder, "--listen", "http://[::1]:0") as service:
        for line in service.log.splitlines():
            assert re.match(r"\d{4}-\d\d-\d\dT[\d:]{8}\.\d{3}Z INFO farpeek\.\w+: ", line)
        assert f"farpeek is listening on unix:{service.path}" in service.log
        assert f"farpeek is listening on http://[::1]:{service.port}" in service.log


@pytest.mark.parametrize("level", ["info", "error"])
def test_json_logs_are_one_object_a_line(folder: Path, level: str) -> None:
    flags = ["--log-format", "json", "--log-level", level, "--no-auth"]
    with Served(folder, *flags) as service:
        lines = [json.loads(line) for line in service.log.splitlines()]
        for line in lines:
            assert set(line) == {"time", "level", "logger", "message"}
        # Whoever starts it waits for this one, so it comes at every level.
        assert lines[-1]["message"] == f"farpeek is listening on unix:{service.path}"
        assert any(line["level"] == "warning" for line in lines) == (level == "info")


def test_health_is_0_for_a_service_that_is_ready(folder: Path) -> None:
    with Served(folder, "--listen", "http://127.0.0.1:0") as service:
        for url in (f"unix:{service.path}", f"http://127.0.0.1:{service.port}"):
            done = run("health", "--listen", url)
            assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert run("health", FARPEEK_LISTEN=f"unix:{service.path},http://x:1").returncode == 0


def test_health_is_1_and_says_why_for_none(folder: Path) -> None:
    done = run("health", "--listen", f"unix:{folder}/x.sock")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert f"unix:{folder}/x.sock: No such file or directory" in done.stderr


@pytest.mark.parametrize("said", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 503 x\r\n\r\n"])
def test_health_is_1_for_what_is_no_ready_farpeek(folder: Path, said: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(folder / "x.sock"))
        server.listen()

        def answer() -> None:
            accepted, _ = server.accept()
            with accepted:
                accepted.recv(1000)
                accepted.sendall(said)

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        assert health.ask(f"unix:{folder}/x.sock")
        thread.join(60)


def test_health_does_not_wait_for_ever(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "TIMEOUT_S", 0.1)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(folder / "x.sock"))
        server.listen()
        assert "timed out" in str(health.ask(f"unix:{folder}/x.sock"))


def test_health_refuses_what_is_no_listener() -> None:
    assert "unix:PATH" in str(health.ask("nowhere"))


def test_the_demo_shows_a_hole_and_an_exit_and_leaves_nothing(folder: Path) -> None:
    done = run("demo", TMPDIR=str(folder))
    assert (done.returncode, done.stderr) == (0, "")
    for wanted in (
        *("POST /v1/targets", "201 Created", "/readv", '"reason": "no_access"', "Hello from the"),
        *(
            "event: exited",
            "event: reaped",
            "$ farpeek maps",
            f"-- {mmap.PAGESIZE} bytes: no_access",
            " 0 lost",
        ),
    ):
        assert wanted in done.stdout
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_leaves_nothing(folder: Path, number: signal.Signals) -> None:
    demo = subprocess.Popen(
        [*FARPEEK, "demo"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(folder)},
    )
    with ended(demo):
        assert demo.stdout is not None
        demo.stdout.readline()
        below = children(demo.pid)
        demo.send_signal(number)
        assert demo.wait(60) in (0, 130)
    assert list(folder.iterdir()) == []
    assert not [pid for pid in below if Path(f"/proc/{pid}").exists()]


def children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(each) for each in text.split()]


def test_the_version_is_told() -> None:
    assert re.fullmatch(r"farpeek \d+\.\d+\.\d+\n", run("--version").stdout)


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["docter"]])
def test_an_unknown_command_is_status_2(arguments: list[str]) -> None:
    assert run(*arguments).returncode == 2


def test_a_demo_whose_reader_has_seen_enough_or_that_is_interrupted_ends_quietly() -> None:
    demo = f"{sys.executable} -m farpeek_api demo"
    for line, status in (
        (f"set -o pipefail; {demo} | head -n 1", 141),
        (f"timeout --foreground --signal INT 1 {demo}; [ $? -ne 1 ]", 0),
    ):
        done = subprocess.run(
            ["bash", "-c", line], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == status, done.stderr
        assert "Traceback" not in done.stderr
