"""The service beside the agent, asked by HTTP on its socket, always on behalf of a client."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, cast

import httpcore2

from farpeek_api.bus import problems
from farpeek_api.bus.catalogue import Catalogue
from farpeek_api.bus.problems import Refusal
from farpeek_api.client import BadAnswer, Interrupted, Unreachable
from farpeek_api.client.joining import AsyncJoining
from farpeek_api.client.steps import Request
from farpeek_api.client.wire import CONNECT_S, Wire

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Generator, Mapping

    from farpeek_api.bus.catalogue import Route
    from farpeek_api.client.address import Place

ON_BEHALF_OF: Final = b"Farpeek-On-Behalf-Of"
SWITCHING: Final = 101
_OK: Final = 200

_CONNECTIONS: Final = 512
"""More than there are requests under way: none may wait here until it is too late for it."""
_KEPT: Final = 20
_KEPT_S: Final = 5.0
_SILENCE_S: Final = 60.0
"""Longest silence of an answer that has an end; the service's own deadline is 10 s by default."""
_EVENTS_SILENCE_S: Final = 45.0
"""It says something every 15 s."""
_LARGEST_DOCUMENT: Final = 8 << 20
_NOT_PASSED_ON: Final = frozenset(
    {"connection", "date", "keep-alive", "server", "transfer-encoding", "upgrade"}
)
"""Headers that are about one connection, which ends here."""


class Exchange:
    """An answer that has begun."""

    def __init__(self, response: httpcore2.Response) -> None:
        self._response = response
        self.status = response.status
        self.headers = {
            name.decode("latin-1").lower(): value.decode("latin-1", "replace")
            for name, value in response.headers
        }

    @property
    def passed_on(self) -> dict[str, str]:
        """The headers that are the client's."""
        found = self.headers.items()
        if self.status == SWITCHING:
            return dict(found)
        return {name: value for name, value in found if name not in _NOT_PASSED_ON}

    @property
    def size(self) -> int | None:
        """How long the body will be, if that is known."""
        value = self.headers.get("content-length", "")
        return int(value) if value.isdecimal() else None

    @property
    def stream(self) -> httpcore2.AsyncNetworkStream:
        """What is spoken on behind a 101."""
        extensions = cast("dict[str, Any]", self._response.extensions)  # pyright: ignore[reportUnknownMemberType] - httpcore2 leaves its types open
        return cast("httpcore2.AsyncNetworkStream", extensions["network_stream"])

    async def parts(self) -> AsyncIterator[bytes]:
        """Give the body as it comes. Raises Refusal."""
        with _errors(problems.BROKEN, "the service ended its answer"):
            async for part in self._response.aiter_stream():
                yield part

    async def close(self) -> None:
        """Take no more of it."""
        with _errors(problems.BROKEN, "the service ended its answer"):
            await self._response.aclose()


class LocalService:
    """All connections to the service."""

    def __init__(self, place: Place) -> None:
        self._wire = Wire(place, None)
        self._kept = _pool(self._wire, _KEPT)
        self._fresh = _pool(self._wire, 0)
        """For what may be done once: a kept connection can have ended without a word."""

    async def begin(
        self, route: Route, asked: Mapping[str, str], body: bytes, client: str
    ) -> Exchange:
        """Put a request on behalf of a client; its answer's head. Raises Refusal."""
        headers = [*route.sent(asked), (ON_BEHALF_OF, client.encode("ascii"))]
        request = self._request(route, route.target(asked), headers, body)
        broken = problems.OUTCOME_UNKNOWN if route.changes else problems.BROKEN
        detail = (
            "the service ended the connection behind the request, which may have been done: look "
            "before you send it again"
            if route.changes
            else "the service ended the connection"
        )
        with _errors(broken, detail):
            return Exchange(await self._pool_for(route).handle_async_request(request))

    async def catalogue(self) -> Catalogue:
        """Ask for the document of all operations. Raises Refusal."""
        try:
            return Catalogue(await self._text("/openapi.json"))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise Refusal(problems.UNREACHABLE, "the service has no OpenAPI document") from error

    async def info(self) -> Mapping[str, Any]:
        """Ask what the service can do here; nothing if the agent itself may not know that."""
        try:
            return await self._document("/v1/info")
        except (Refusal, ValueError):
            return {}

    async def events(self, after: int) -> AsyncIterator[bytes]:
        """Follow what happens to targets, in the agent's own name. Raises Refusal."""
        headers = {"Last-Event-ID": str(after)}
        asking = self._wire.request(
            Request("GET", "/v1/events", headers=headers, silence_s=_EVENTS_SILENCE_S)
        )
        with _errors(problems.BROKEN, "the service ended its events"):
            response = await self._fresh.handle_async_request(asking)
            try:
                if response.status != _OK:
                    text = await response.aread()
                    raise Refusal(
                        problems.UNREACHABLE, _refused("/v1/events", response.status, text)
                    )
                async for part in response.aiter_stream():
                    yield part
            finally:
                await response.aclose()

    async def state(self) -> str:
        """Say how the service is: `ready`, `not-ready` or `unreachable`."""
        try:
            status, _ = await self._get("/readyz")
        except Refusal:
            return "unreachable"
        return "ready" if status == _OK else "not-ready"

    async def close(self) -> None:
        """Close all connections."""
        await self._kept.aclose()
        await self._fresh.aclose()

    def _pool_for(self, route: Route) -> httpcore2.AsyncConnectionPool:
        return self._fresh if route.changes or route.upgrades else self._kept

    async def _document(self, path: str) -> Mapping[str, Any]:
        """Ask for JSON, in the agent's own name."""
        return cast("Mapping[str, Any]", json.loads(await self._text(path)))

    async def _text(self, path: str) -> bytes:
        """Ask for a document, in the agent's own name. Raises Refusal."""
        status, text = await self._get(path)
        if status != _OK:
            raise Refusal(problems.UNREACHABLE, _refused(path, status, text))
        return text

    async def _get(self, path: str) -> tuple[int, bytes]:
        """Ask for a status and a document, in the agent's own name. Raises Refusal."""
        asking = self._wire.request(Request("GET", path))
        with _errors(problems.UNREACHABLE, "the service gave no document"):
            response = await self._kept.handle_async_request(asking)
            try:
                parts: list[bytes] = []
                async for part in response.aiter_stream():
                    parts.append(part)
                    if sum(map(len, parts)) > _LARGEST_DOCUMENT:
                        raise BadAnswer("it has no end")
            finally:
                await response.aclose()
        return response.status, b"".join(parts)

    def _request(
        self, route: Route, target: str, headers: list[tuple[bytes, bytes]], body: bytes
    ) -> httpcore2.Request:
        silence_s = None if route.endless else _SILENCE_S
        own = [(b"Host", b"farpeek"), (b"User-Agent", b"farpeek-agent")]
        token = self._wire.place.token
        if token is not None:
            own.append((b"Authorization", f"Bearer {token}".encode()))
        if body or route.method in ("POST", "PUT", "PATCH"):
            own.append((b"Content-Length", b"%d" % len(body)))
        waits = {"connect": CONNECT_S, "read": silence_s, "write": _SILENCE_S, "pool": _SILENCE_S}
        url = httpcore2.URL(scheme=b"http", host=b"farpeek", port=None, target=target.encode())
        return httpcore2.Request(
            route.method,
            url,
            headers=[*own, *headers],
            content=body or None,
            extensions={"timeout": waits},
        )


def _pool(wire: Wire, kept: int) -> httpcore2.AsyncConnectionPool:
    return httpcore2.AsyncConnectionPool(
        max_connections=_CONNECTIONS,
        max_keepalive_connections=kept,
        keepalive_expiry=_KEPT_S,
        uds=wire.socket,
        network_backend=AsyncJoining() if kept else None,
    )


def _refused(path: str, status: int, text: bytes) -> str:
    try:
        detail = json.loads(text)["detail"]
    except (ValueError, KeyError, TypeError):
        detail = "it did not say why"
    return f"the service does not let the agent ask for {path} ({status}): {detail}"


@contextmanager
def _errors(broken: problems.Kind, detail: str) -> Generator[None]:
    """Say what errors mean that are not the client's doing."""
    try:
        yield
    except (httpcore2.ConnectError, httpcore2.ConnectTimeout, Unreachable) as error:
        raise Refusal(
            problems.UNREACHABLE, "nobody listens on the service's socket: start `farpeek serve`"
        ) from error
    except httpcore2.PoolTimeout as error:
        raise Refusal(problems.TOO_BUSY, "too many requests wait for the service") from error
    except (httpcore2.UnsupportedProtocol, httpcore2.LocalProtocolError) as error:
        raise Refusal(problems.MALFORMED, "the request cannot be written as HTTP") from error
    except (
        httpcore2.NetworkError,
        httpcore2.ProtocolError,
        httpcore2.TimeoutException,
        Interrupted,
        BadAnswer,
    ) as error:
        raise Refusal(broken, f"{detail}: {str(error) or type(error).__name__}") from error
