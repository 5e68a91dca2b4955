"""One read by each way that a client can put it."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any, Final

from support.frames import take_apart
from support.serving import UnixConnection
from support.websocket import WebSocket

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import ExitStack

    from support.wire import Served

    Take = Callable[[], tuple[Any, bytes]]

FRAME: Final = "application/vnd.farpeek.frame"
TRANSPORTS: Final = ("json", "frame", "many", "stream", "subscription")


class Transports:
    """Puts one read again and again; what comes is the object of the answer, and the bytes."""

    def __init__(
        self,
        served: Served,
        target: str,
        addresses: Sequence[int],
        lengths: Sequence[int],
        mode: str,
        stack: ExitStack,
    ) -> None:
        self._served = served
        self._stack = stack
        self._target = target
        self._regions = {"addresses": [hex(each) for each in addresses], "lengths": list(lengths)}
        self._mode = mode
        self._connection = UnixConnection(served.path)
        stack.callback(self._connection.close)

    def by(self, transport: str) -> Take:
        """Return what puts the read by that way."""
        match transport:
            case "json":
                return self._json
            case "frame":
                return self._frame
            case "many":
                return self._many
            case "stream":
                return self._stream()
            case _:
                return self._subscription()

    def _post(self, path: str, body: object, accept: str) -> bytes:
        headers = {"Content-Type": "application/json", "Accept": accept}
        self._connection.request("POST", path, json.dumps(body).encode(), headers)
        return self._connection.getresponse().read()

    def _json(self) -> tuple[Any, bytes]:
        body = {**self._regions, "mode": self._mode}
        shown = self._post(f"/v1/targets/{self._target}/readv", body, "application/json")
        answer = json.loads(shown)
        return answer, base64.b64decode(answer["data"])

    def _frame(self) -> tuple[Any, bytes]:
        body = {**self._regions, "mode": self._mode}
        return take_apart(self._post(f"/v1/targets/{self._target}/readv", body, FRAME))

    def _many(self) -> tuple[Any, bytes]:
        reads = [{**self._regions, "target": self._target}]
        body = {"reads": reads, "mode": self._mode}
        answer, data = take_apart(self._post("/v1/readv", body, FRAME))
        return answer["results"][0], data

    def _stream(self) -> Take:
        ws = self._stack.enter_context(WebSocket(self._served.connect()))
        message = {"id": 1, "target": self._target, **self._regions, "mode": self._mode}
        return lambda: ws.ask(message)

    def _subscription(self) -> Take:
        ws = self._stack.enter_context(WebSocket(self._served.connect()))
        wanted = {"target": self._target, **self._regions, "mode": self._mode, "hz": 1000}
        ws.ask({"id": 2, "subscribe": wanted})
        return ws.next
