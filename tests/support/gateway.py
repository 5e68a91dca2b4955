"""A real gateway of a fleet."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Final

from support.ending import Ending, end_process
from support.fleet import ALICE, BOB, MALLORY
from support.policies import entry
from support.serving import Reply, UnixConnection, environment_for_a_service
from support.serving import put as put_by_http
from support.waiting import PATIENCE_S, until

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from support.broker import Broker

GATEWAY_POLICY: Final = (
    entry("alice", ALICE) + entry("bob", BOB, ["inspect", "read"]) + entry("mallory", MALLORY)
)
"""Who is who at a gateway; what they may do say the nodes."""


class GatewayProcess(Ending):
    """`farpeek gateway` on a socket and a port, with a policy that names the clients by tokens.

    With a flag `--client` there is no policy.
    """

    def __init__(self, broker: Broker, folder: Path, *flags: str, policy: str = "") -> None:
        self.path = folder / "gateway" / "farpeek.sock"
        self._log = folder / "gateway.log"
        self._policy = folder / "gateway.toml"
        self.write(policy or GATEWAY_POLICY)
        command: list[str | Path] = [sys.executable, "-m", "farpeek_api", "gateway"]
        if "--client" not in flags:
            command += ["--policy", self._policy, "--nkeys", broker.keys]
        command += ["--nats", f"nats://127.0.0.1:{broker.port}"]
        command += ["--listen", f"unix:{self.path}", "--listen", "http://127.0.0.1:0", *flags]
        with self._log.open("w") as log:
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *command],
                stdin=subprocess.DEVNULL,
                stderr=log,
                env=environment_for_a_service(),
            )
        places = command.count("--listen")
        until(
            lambda: self.log.count("is listening on") == places or self.process.poll() is not None,
            "the gateway listens",
        )
        assert self.process.poll() is None, self.log

    def write(self, policy: str) -> None:
        """Write its policy, of which it knows nothing by that."""
        self._policy.write_text(policy)
        self._policy.chmod(0o600)

    @property
    def policy(self) -> str:
        """Its policy."""
        return self._policy.read_text()

    def reload(self, policy: str) -> None:
        """Write its policy, and have it read."""
        self.write(policy)
        seen = self.log.count("the policy is that of")
        self.process.send_signal(signal.SIGHUP)
        until(lambda: self.log.count("the policy is that of") > seen, "the policy is read")

    @property
    def log(self) -> str:
        """All that it has logged."""
        return self._log.read_text()

    @property
    def port(self) -> int:
        """Where it listens on 127.0.0.1."""
        return self.port_of("http")

    def port_of(self, scheme: str) -> int:
        """Where it listens there, by http or https."""
        found = re.search(rf"listening on {scheme}://127\.0\.0\.1:(\d+)", self.log)
        assert found is not None
        return int(found[1])

    def connect(self) -> socket.socket:
        """Connect to its socket."""
        made = socket.socket(socket.AF_UNIX)
        made.settimeout(PATIENCE_S)
        made.connect(str(self.path))
        return made

    def request(
        self,
        method: str,
        path: str,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        token: str | None = None,
    ) -> Reply:
        """Put one request, as alice where nobody else is named."""
        shown = {"Authorization": f"Bearer {token or ALICE}", **(headers or {})}
        return put_by_http(UnixConnection(self.path), method, path, body, shown)

    def end(self) -> None:
        end_process(self.process)
