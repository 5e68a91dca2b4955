"""`farpeek dap`, driven by a client of the protocol that others wrote (dap-python)."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

from dap import Client
from dap.base import ErrorResponse, EventBody, Response, ResponseBody
from dap.handler import Handler
from dap.responses import ReadMemoryResponse

from support.ending import Ending, end_process
from support.waiting import PATIENCE_S

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from support.serving import Service


class Adapter(Ending):
    """`farpeek dap` as a process; without a service, ``flags`` say where it is."""

    def __init__(self, service: Service | None, *flags: str) -> None:
        where = [] if service is None else ["--url", f"unix:{service.path}"]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "farpeek_api", "dap", *where, *flags],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def port(self) -> int:
        """Wait until it listens; where."""
        assert self.process.stderr is not None
        return int(self.process.stderr.readline().rsplit(b":", 1)[1])

    def leave(self) -> tuple[int, bytes]:
        """Close its input; its exit status, and what it has complained of."""
        _, error = self.process.communicate(timeout=PATIENCE_S)
        return self.process.returncode, error

    def end(self) -> None:
        end_process(self.process)
        for each in (self.process.stdin, self.process.stdout, self.process.stderr):
            if each is not None:
                each.close()


_ACKNOWLEDGED = {"attach", "configurationDone", "disconnect", "pause", "next"}


class _Acknowledging(Handler):
    """dap-python 0.5 takes the empty body of these answers for a whole answer, and fails."""

    def handle_response(self, response: Response) -> ResponseBody | Response:
        if response.success and response.command in _ACKNOWLEDGED:
            assert response.request_seq is not None
            self.client._pending_requests.pop(response.request_seq)  # noqa: SLF001 - as it does
            return response
        return super().handle_response(response)


class Editor:
    """An editor's end: requests, answers, and the events that came between them."""

    def __init__(self, send: Callable[[bytes], object], descriptor: int) -> None:
        self.client = Client("farpeek")
        self.client.handler = _Acknowledging(self.client)
        self.events: list[EventBody] = []
        self._send = send
        self._descriptor = descriptor
        self.capabilities = self.wait()

    @classmethod
    def over_stdio(cls, adapter: Adapter) -> Editor:
        stdin, stdout = adapter.process.stdin, adapter.process.stdout
        assert stdin is not None
        assert stdout is not None

        def send(data: bytes) -> None:
            stdin.write(data)
            stdin.flush()

        return cls(send, stdout.fileno())

    @classmethod
    def over_tcp(cls, connection: socket.socket) -> Editor:
        return cls(connection.sendall, connection.fileno())

    def ask(self, command: str, **arguments: object) -> Any:  # noqa: ANN401 - a body
        """Put a request; its answer. Fails if it is refused."""
        self.client.send_request(command, arguments)
        answer = self.wait()
        assert not isinstance(answer, ErrorResponse), answer
        return answer

    def refused(self, command: str, **arguments: object) -> str:
        """Put a request that has to be refused; what is said."""
        self.client.send_request(command, arguments)
        answer = self.wait()
        assert isinstance(answer, ErrorResponse), answer
        return str(answer.message)

    def attach(self, pid: int) -> None:
        """Do what editors do at their start."""
        self.ask("attach", pid=pid)
        self.ask("configurationDone")
        self.event("StoppedEvent")

    def read(self, reference: str, count: int, offset: int = 0) -> ReadMemoryResponse:
        answer = self.ask("readMemory", memoryReference=reference, count=count, offset=offset)
        assert isinstance(answer, ReadMemoryResponse)
        return answer

    def event(self, kind: str) -> Any:  # noqa: ANN401 - a body
        """Wait for an event; it counts once."""
        give_up = time.monotonic() + PATIENCE_S
        while True:
            for each in self.events:
                if type(each).__name__ == kind:
                    self.events.remove(each)
                    return each
            assert time.monotonic() < give_up, f"no {kind}: {self.events}"
            self.events += [each for each in self._receive() if isinstance(each, EventBody)]

    def wait(self) -> Any:  # noqa: ANN401 - a body
        """Send what is to be sent, and wait for the answer."""
        self._send(bytes(self.client.send()))
        while True:
            answers: list[Any] = []
            for each in self._receive():
                (self.events if isinstance(each, EventBody) else answers).append(each)
            if answers:
                assert len(answers) == 1
                return answers[0]

    def _receive(self) -> list[Any]:
        ready, _, _ = select.select([self._descriptor], [], [], PATIENCE_S)
        assert ready, "the adapter says nothing"
        data = os.read(self._descriptor, 1 << 20)
        assert data, "the adapter has ended"
        return list(self.client.receive(data))
