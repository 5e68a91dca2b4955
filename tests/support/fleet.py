"""Real agents of a fleet, their clients, and who is who there."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from farpeek_api.bus.asking import Asking, Question
from farpeek_api.policy import tokens
from support.ending import Ending, end_process
from support.policies import EVERYTHING, entry
from support.serving import Reply, environment_for_a_service
from support.waiting import until

if TYPE_CHECKING:
    import signal
    from collections.abc import Mapping
    from pathlib import Path

    from farpeek_api.operations.operation import Operation
    from support.broker import Broker
    from support.example_requests import Asking as AskingByHttp
    from support.policies import Policed


class AgentProcess(Ending):
    """`farpeek agent`, as root of the service's own host."""

    def __init__(
        self, broker: Broker, socket: Path, folder: Path, name: str = "n1", *flags: str
    ) -> None:
        self._log = folder / f"agent.{name}.log"
        command = [sys.executable, "-m", "farpeek_api", "agent", "--nats", broker.url(name)]
        command += ["--node", name, "--url", f"unix:{socket}", *flags]
        with self._log.open("w") as log:
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *command],
                stdin=subprocess.DEVNULL,
                stderr=log,
                env=environment_for_a_service(),
            )

    def await_ready(self) -> None:
        """Wait until it serves."""
        until(lambda: "connected to " in self.log or self.has_ended, "the agent serves")
        assert not self.has_ended, self.log

    @property
    def has_ended(self) -> bool:
        return self.process.poll() is not None

    @property
    def log(self) -> str:
        """All that it has logged."""
        return self._log.read_text()

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def end(self) -> None:
        end_process(self.process)


async def put(
    asking: Asking,
    operation: Operation,
    path: str,
    body: object = None,
    headers: Mapping[str, str] | None = None,
    node: str = "n1",
) -> Reply:
    """Put the request of a path through the broker, as HTTP would have it answered."""
    parts = urlsplit(path)
    template = (
        re.escape(operation.path).replace(r"\{id\}", "([^/]+)").replace(r"\{name\}", "([^/]+)")
    )
    found = re.fullmatch(template, parts.path)
    assert found is not None, path
    sent = dict(headers or {})
    payload = b""
    if body is not None:
        payload = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent.setdefault("Content-Type", "application/json")
    not_after = None
    if operation.changes:
        not_after = await asking.clock_ns(node) + 60 * 10**9
    question = Question(
        operation.id,
        "/".join(found.groups()) or None,
        parts.query,
        sent,
        payload,
        not_after=not_after,
    )
    answer = await asking.ask(node, question)
    try:
        data = await answer.whole()
    finally:
        await answer.close()
    return Reply(answer.status, answer.headers, data)


def volatile(value: Any) -> Any:  # noqa: ANN401 - JSON
    """Return JSON without what is another one each time."""
    if isinstance(value, dict):
        return {k: volatile(v) for k, v in value.items() if k not in _EACH_TIME}
    if isinstance(value, list):
        return [volatile(each) for each in value]
    return value


_EACH_TIME: Final = {"request_id", "began_ns", "elapsed_us", "ticket", "cpu_ns"}


ALICE, BOB, MALLORY = tokens.make(), tokens.make(), tokens.make()
POLICY = (
    "[clients.agent]\nunix_uid = [0]\nverbs = ['inspect']\nimpersonate = ['alice', 'bob']\n"
    + entry("alice", ALICE, rest=f"targets = {EVERYTHING}")
    + entry("bob", BOB, ["inspect", "read"], rest="targets = [{ uid = 4242 }]")
)


@dataclass(frozen=True)
class Fleet:
    folder: Path
    broker: Broker
    service: Policed
    agent: AgentProcess
    asking: AskingByHttp
    """By HTTP, as alice."""
