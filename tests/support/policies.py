"""A real service with a policy, and requests that its clients put to it."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

from farpeek_api.policy import tokens
from support.waiting import until
from support.websocket import WebSocket, handshake
from support.wire import Events, Reply, Served

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

ALL_VERBS = [
    "inspect",
    "register",
    "read",
    "events",
    "write",
    "files",
    "search",
    "metrics",
    "admin",
]
EVERYTHING = '[{ comm = "*" }]'


def entry(name: str, token: str, verbs: list[str] = ALL_VERBS, rest: str = "") -> str:
    """Write the entry of one client; ``rest`` has its other members."""
    return (
        f'[clients.{name}]\ntoken_sha256 = ["{tokens.digest(token)}"]\nverbs = {verbs!r}\n{rest}\n'
    )


class Policed(Served):
    """A service with the policy ``text``; TOKEN stands for each client's token in it."""

    def __init__(self, folder: Path, text: str, *flags: str, **how: Any) -> None:  # noqa: ANN401 - as `Service` takes
        self._policy_path = folder / "policy.toml"
        self.write(text)
        flags = ("--listen", "http://127.0.0.1:0", "--policy", str(self._policy_path), *flags)
        super().__init__(folder, *flags, **how)

    def write(self, text: str) -> None:
        """Change the file, of which the service knows nothing by that."""
        self._policy_path.write_text(text)
        self._policy_path.chmod(0o600)

    def reload(self, text: str) -> None:
        """Change the file, and have it read."""
        self.write(text)
        seen = len(self.log)
        self.process.send_signal(signal.SIGHUP)
        until(lambda: "polic" in self.log[seen:].rpartition("the ")[2], "the policy is read")


class As:
    """One client of a service."""

    def __init__(self, service: Served, token: str, **headers: str) -> None:
        self.service = service
        self.headers = {
            "Authorization": f"Bearer {token}",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }

    def request(
        self,
        method: str,
        path: str,
        body: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Put a request."""
        return self.service.request(method, path, body, {**self.headers, **(headers or {})})

    def register(self, pid: int) -> Reply:
        """Register a process."""
        return self.request("POST", "/v1/targets", {"pid": pid})

    def read(self, target: str, address: int, length: int = 8, **members: object) -> Reply:
        """Read one region."""
        body = {"addresses": [hex(address)], "lengths": [length], **members}
        return self.request("POST", f"/v1/targets/{target}/readv", body)

    def stream(self) -> WebSocket:
        """Open a stream."""
        return WebSocket(self.service.connect(), handshake(**self.headers))

    def events(self) -> Events:
        """Follow the events."""
        return Events(self.service.path, headers=self.headers)


def root_uid() -> int:
    """Return whose requests come without a token."""
    return os.getuid()
