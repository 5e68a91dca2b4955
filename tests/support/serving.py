"""A real `farpeek serve` process, and the requests that tests put to it."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from support import watching
from support.ending import Ending, end_process
from support.forked import Forked, can_fork
from support.waiting import PATIENCE_S, until

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

UNDER = "TESTS_SERVICE_UNDER"
"""A variable: what starts all services of root's, for runs under a seccomp profile, say."""

_HERE = Path(__file__).resolve().parent
_AS_USER = _HERE / "as_user.py"


def refusing(call: str) -> list[str]:
    """Return what starts a service that the kernel refuses a system call: ``under`` of it."""
    return [sys.executable, str(_HERE / "refuse.py"), call]


def environment_for_a_service() -> dict[str, str]:
    """Return our own, without what is the tests' alone: unknown variables are refused."""
    return {name: value for name, value in os.environ.items() if name != "FARPEEK_TEST_KERNEL"}


@dataclass(frozen=True, slots=True)
class Reply:
    """Status, headers (names in lower case) and body of one answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:  # noqa: ANN401 - whatever the service says
        return json.loads(self.body)

    @property
    def slug(self) -> str:
        """The problem's name; fails for what is no problem."""
        assert self.headers["content-type"] == "application/problem+json", self
        assert self.json["status"] == self.status
        return str(self.json["type"]).removeprefix("urn:farpeek:problem:")

    @property
    def places(self) -> list[str]:
        """Where in the request the mistakes are."""
        return [each["place"] for each in self.json["errors"]]


class UnixConnection(http.client.HTTPConnection):
    """http.client over a unix socket."""

    def __init__(self, path: Path, timeout: float = PATIENCE_S) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def _is_read_by_it_alone(environment: Mapping[str, str]) -> bool:
    """Whether nothing in it is for the interpreter or a library, which look when they start."""
    return all(name.startswith("FARPEEK_") for name in environment)


class Service(Ending):
    """`farpeek serve` on a unix socket in a folder that it makes below ``folder``.

    ``environment`` adds to this process's own. ``uid`` runs it as that user and group, with the
    flags ``as_user`` of as_user.py; the folder becomes the user's own then, and everybody
    must be able to get there. ``without`` takes capabilities (setpriv(1)'s names) from a service of
    root's. It is started by the command ``under``.
    """

    def __init__(
        self,
        folder: Path,
        *flags: str,
        environment: Mapping[str, str] | None = None,
        uid: int | None = None,
        as_user: Sequence[str] = (),
        without: Sequence[str] = (),
        under: Sequence[str] = (),
    ) -> None:
        self.path = folder / "run" / "farpeek.sock"
        self._log_path = folder / "log"
        self._listeners = 1 + flags.count("--listen")
        if uid is None:
            # It is to end with us, whatever ends us; as_user.py sees to that by itself.
            command = ["setpriv", "--pdeathsig", "KILL"]
            if without:
                command += ["--bounding-set", ",".join(f"-{name}" for name in without)]
            everywhere = shlex.split(os.environ.get(UNDER, ""))
            command += [*everywhere, *under, sys.executable, "-m", "farpeek_api"]
        else:
            os.chown(folder, uid, uid)
            command = [sys.executable, str(_AS_USER), str(uid), str(uid), *as_user, "--"]
        arguments = ["serve", "--listen", f"unix:{self.path}", *flags]
        env = {**environment_for_a_service(), **(environment or {})}
        is_usual = uid is None and not (without or under or UNDER in env)
        with self._log_path.open("w") as log:
            self.process: subprocess.Popen[bytes] | Forked
            if is_usual and _is_read_by_it_alone(environment or {}) and can_fork():
                self.process = Forked(arguments, env, log)
            else:
                self.process = subprocess.Popen(
                    [*command, *arguments], stdin=subprocess.DEVNULL, stderr=log, cwd="/", env=env
                )
        try:
            until(self._listens_or_ended, "the service listens")
            assert self.process.poll() is None, self.log
        except BaseException:
            self.end()
            raise

    def _listens_or_ended(self) -> bool:
        return (
            self.log.count("farpeek is listening on ") >= self._listeners
            or self.process.poll() is not None
        )

    @property
    def log(self) -> str:
        """All that it has logged so far."""
        return self._log_path.read_text()

    def request(
        self,
        method: str,
        path: str,
        body: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Put one request on a connection of its own; a body that is no bytes goes as JSON."""
        try:
            return ask(UnixConnection(self.path), method, path, body, headers)
        except http.client.IncompleteRead as error:
            error.add_note(f"the service's log:\n{self.log[-2000:]}")
            raise

    def register(self, pid: int) -> str:
        """Register a process; its target's id."""
        reply = self.request("POST", "/v1/targets", {"pid": pid})
        assert reply.status in (200, 201), reply
        return str(reply.json["id"])

    def readv(self, target: str, **members: object) -> Reply:
        """Read; ``members`` are those of the request."""
        return self.request("POST", f"/v1/targets/{target}/readv", members)

    def read(self, target: str, address: int, length: int, **members: object) -> Reply:
        """Read one region."""
        return self.readv(target, addresses=[hex(address)], lengths=[length], **members)

    def stop(self, number: int = signal.SIGTERM, patience_s: float = PATIENCE_S) -> int:
        """Send a signal; the exit status."""
        self.process.send_signal(number)
        return self.process.wait(patience_s)

    def end(self) -> None:
        """Kill and reap, whatever state it is in."""
        end_process(self.process)


def ask(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    body: object = None,
    headers: Mapping[str, str] | None = None,
) -> Reply:
    """Put one request to a service, whose answers are to be as they are described."""
    reply = put(connection, method, path, body, headers)
    watching.saw_answer(method, path, reply)
    return reply


def put(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    body: object = None,
    headers: Mapping[str, str] | None = None,
) -> Reply:
    """Put one request, and close the connection."""
    sent = dict(headers or {})
    payload = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    if payload is not None:
        sent.setdefault("Content-Type", "application/json")
    with contextlib.closing(connection):
        connection.request(method, path, payload, sent)
        response = connection.getresponse()
        found = {name.lower(): value for name, value in response.getheaders()}
        return Reply(response.status, found, response.read())
