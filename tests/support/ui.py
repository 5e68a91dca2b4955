"""`farpeek ui`, as its user has it, and requests that a browser could send there."""

from __future__ import annotations

import http.client
import os
import select
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from support.ending import Ending, end_process
from support.serving import put
from support.waiting import PATIENCE_S
from support.websocket import WebSocket, handshake

if TYPE_CHECKING:
    from collections.abc import Mapping

    from support.serving import Reply


class Ui(Ending):
    """Runs the command on the service of ``url``, without a browser."""

    def __init__(
        self, url: str, *words: object, environment: Mapping[str, str] | None = None
    ) -> None:
        command = [sys.executable, "-m", "farpeek_api", "ui", *map(str, words), "--no-browser"]
        self.process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *command, "--url", url],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **(environment or {})},
        )
        assert self.process.stdout is not None
        is_there = select.select([self.process.stdout], [], [], PATIENCE_S)[0]
        self.address = self.process.stdout.readline().strip() if is_there else ""
        if not self.address:
            self.end()
            raise AssertionError("it prints no address")
        parts = urlsplit(self.address)
        assert parts.hostname == "127.0.0.1"
        assert parts.port is not None
        self.port = parts.port
        self.fragment = {name: each[0] for name, each in parse_qs(parts.fragment).items()}
        self._token: str | None = None

    @property
    def host(self) -> str:
        """What a browser calls it."""
        return f"127.0.0.1:{self.port}"

    def websocket(self, **headers: str) -> WebSocket:
        """Open a stream there, as a browser does."""
        return WebSocket(self.connect(), handshake(Host=self.host, **headers))

    def with_ticket(self) -> dict[str, str]:
        """Give the headers of a page that has a ticket for its stream."""
        ticket = self.ask("POST", "/v1/stream/tickets").json["ticket"]
        return {
            "Sec_WebSocket_Protocol": f"farpeek.v1, farpeek.ticket.{ticket}",
            "Origin": f"http://{self.host}",
        }

    @property
    def token(self) -> str:
        """What the page is given for the secret."""
        if self._token is None:
            self._token = str(self.exchange(self.fragment["secret"]).json["token"])
        return self._token

    @property
    def known(self) -> dict[str, str]:
        """The headers of a page that has it."""
        return {"Authorization": f"Bearer {self.token}"}

    def exchange(self, secret: object, headers: Mapping[str, str] | None = None) -> Reply:
        """Show a secret."""
        return self.request("POST", "/ui-session", {"secret": secret}, headers)

    def request(
        self,
        method: str,
        path: str,
        body: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Put a request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        return put(connection, method, path, body, headers)

    def ask(self, method: str, path: str, body: object = None, **headers: str) -> Reply:
        """Put a request as the page does."""
        return self.request(method, path, body, {**self.known, **headers})

    def connect(self) -> socket.socket:
        """Open a connection, for bytes."""
        return socket.create_connection(("127.0.0.1", self.port), PATIENCE_S)

    def stop(self) -> tuple[int, str]:
        """Interrupt it; its exit status, and all that it has complained of."""
        self.process.send_signal(signal.SIGINT)
        _, error = self.process.communicate(timeout=PATIENCE_S)
        return self.process.returncode, error

    def end(self) -> None:
        end_process(self.process)
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()
