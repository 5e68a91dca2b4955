"""Do what calls yield, over httpx2: one driver that waits, and one that awaits.

They differ in nothing else. The transports of httpx2 are used without its clients, which would
follow proxies of the environment, redirects and cookies: target memory goes where it was meant to.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import httpx2

from farpeek_api.client.address import complaint
from farpeek_api.client.problems import BadAnswer, Interrupted, Unreachable
from farpeek_api.client.steps import (
    Call,
    Flow,
    Item,
    More,
    Open,
    Pause,
    Reply,
    Request,
    patient,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator, Iterator

    import httpcore2

    from farpeek_api.client.address import Place
    from farpeek_api.client.steps import Step

T = TypeVar("T")

CONNECT_S: Final = 10.0
_SWITCHING: Final = 101
_MOST_URLS: Final = 256
_FAR_BEYOND: Final = 1 << 20  # of a refusal, whatever was asked for


class Wire:
    """What both drivers need to know of a service: its address, and how requests look there."""

    def __init__(self, place: Place, verify: ssl.SSLContext | None) -> None:
        self.place = place
        if verify is None and place.base.startswith("https:"):
            verify = ssl.create_default_context()
        # A context without certificates, where none are needed: to load them takes 80 ms.
        self.verify = verify or ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.socket = None if place.socket is None else str(place.socket)
        self._urls: dict[tuple[object, ...], httpx2.URL] = {}
        self._headers = {"Accept-Encoding": "identity", "User-Agent": "farpeek"}
        if place.token is not None:
            self._headers["Authorization"] = f"Bearer {place.token}"

    def request(self, wanted: Request) -> httpx2.Request:
        """Write a request as httpx2 has it."""
        silence_s = wanted.silence_s
        waits = {"connect": CONNECT_S, "read": silence_s, "write": silence_s, "pool": silence_s}
        return httpx2.Request(
            wanted.method,
            self._url(wanted),
            headers={**self._headers, **wanted.headers},
            content=wanted.body or None,
            extensions={"timeout": waits},
        )

    def _url(self, wanted: Request) -> httpx2.URL:
        """Give a request's URL; to parse one takes a tenth of a small read."""
        name = (wanted.path, *wanted.query.items())
        url = self._urls.get(name)
        if url is None:
            url = httpx2.URL(self.place.base + wanted.path, params=wanted.query or None)
            if len(self._urls) >= _MOST_URLS:
                self._urls.clear()
            self._urls[name] = url
        return url

    @contextmanager
    def errors(self) -> Generator[None, None, None]:
        """Say what httpx2's errors mean."""
        try:
            yield
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            raise Unreachable(complaint(self.place.shown, _cause(error))) from error
        except httpx2.ReadTimeout as error:
            raise Interrupted(f"{self.place.shown} did not go on with its answer") from error
        except (httpx2.TransportError, httpx2.StreamError) as error:
            why = str(error) or type(error).__name__
            raise Interrupted(f"{self.place.shown} ended the answer: {why}") from error


def _cause(error: BaseException) -> OSError | None:
    """Find the system's error behind httpx2's."""
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, OSError):
            return found
        found = found.__cause__ or found.__context__
    return None


def _head(response: httpx2.Response) -> Reply:
    headers = {name.lower(): value for name, value in response.headers.items()}
    if "content-encoding" in headers:
        raise BadAnswer("the answer is encoded, which was not asked for")
    return Reply(response.status_code, headers)


def _is_fine(response: httpx2.Response) -> bool:
    return response.status_code // 100 == 2  # noqa: PLR2004 - 2xx


class _Body:
    """An answer's bytes as they come, up to the most that are taken."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._parts: list[bytes] = []
        self._size = 0

    def add(self, part: bytes) -> None:
        self._size += len(part)
        if self._size > self._most:
            raise BadAnswer(f"the answer has more than the {self._most} bytes that it may have")
        self._parts.append(part)

    def whole(self, head: Reply) -> Reply:
        return Reply(head.status, head.headers, b"".join(self._parts))


class Driver:
    """Waits for each step."""

    def __init__(self, wire: Wire, retries: int) -> None:
        self._wire = wire
        self._retries = retries
        self._transport = httpx2.HTTPTransport(uds=wire.socket, verify=wire.verify)

    def close(self) -> None:
        """Close all connections."""
        self._transport.close()

    def upgrade(self, wanted: Request) -> tuple[Reply, httpcore2.NetworkStream | None]:
        """Ask for another protocol: the answer, and what to speak it on, if that was agreed to."""
        steps = _Steps(self._transport, self._wire)
        with self._wire.errors():
            response = self._transport.handle_request(self._wire.request(wanted))
            if response.status_code == _SWITCHING:
                return _head(response), response.extensions["network_stream"]
            try:
                return steps.whole(response, _FAR_BEYOND), None
            finally:
                response.close()

    def run(self, call: Call[T]) -> T:
        """Do a call; its result."""
        steps = _Steps(self._transport, self._wire)
        call = patient(call, self._retries)
        try:
            step = next(call)
            while True:
                try:
                    came = steps.do(step)
                except Exception as error:  # noqa: BLE001 - the call decides
                    step = call.throw(error)
                else:
                    step = call.send(came)
        except StopIteration as end:
            return cast("T", end.value)
        finally:
            call.close()
            steps.close()

    def iterate(self, flow: Flow[T]) -> Generator[T, None, None]:
        """Do a flow; its items."""
        steps = _Steps(self._transport, self._wire)
        flow = patient(flow, self._retries)
        try:
            step = next(flow)
            while True:
                try:
                    came: object = None
                    if isinstance(step, Item):
                        yield step.value
                    else:
                        came = steps.do(step)
                except Exception as error:  # noqa: BLE001 - the flow decides
                    step = flow.throw(error)
                else:
                    step = flow.send(came)
        except StopIteration:
            return
        finally:
            flow.close()
            steps.close()


class _Steps:
    """The steps of one call, and the answer that it has open."""

    def __init__(self, transport: httpx2.HTTPTransport, wire: Wire) -> None:
        self._transport = transport
        self._wire = wire
        self._open: httpx2.Response | None = None
        self._parts: Iterator[bytes] = iter(())

    def do(self, step: Step) -> object:
        if isinstance(step, Request):
            return self._ask(step)
        if isinstance(step, More):
            with self._wire.errors():
                return next(self._parts, b"")
        if isinstance(step, Open):
            return self._begin(step.request)
        if isinstance(step, Pause):
            time.sleep(step.seconds)
            return None
        return step.function()

    def _ask(self, wanted: Request) -> Reply:
        with self._wire.errors():
            response = self._transport.handle_request(self._wire.request(wanted))
            try:
                return self.whole(response, wanted.most)
            finally:
                response.close()

    def whole(self, response: httpx2.Response, most: int) -> Reply:
        head = _head(response)
        body = _Body(most if _is_fine(response) else _FAR_BEYOND)
        for part in response.iter_raw():
            body.add(part)
        return body.whole(head)

    def _begin(self, wanted: Request) -> Reply:
        self.close()
        with self._wire.errors():
            response = self._open = self._transport.handle_request(self._wire.request(wanted))
            if not _is_fine(response):
                return self.whole(response, _FAR_BEYOND)
            self._parts = response.iter_raw()
            return _head(response)

    def close(self) -> None:
        response, self._open = self._open, None
        if response is not None:
            with self._wire.errors():
                response.close()


class AsyncDriver:
    """Awaits each step."""

    def __init__(self, wire: Wire, retries: int) -> None:
        self._wire = wire
        self._retries = retries
        self._transport = httpx2.AsyncHTTPTransport(uds=wire.socket, verify=wire.verify)

    async def close(self) -> None:
        """Close all connections."""
        await self._transport.aclose()

    async def upgrade(self, wanted: Request) -> tuple[Reply, httpcore2.AsyncNetworkStream | None]:
        """Ask for another protocol: the answer, and what to speak it on, if that was agreed to."""
        steps = _AsyncSteps(self._transport, self._wire)
        with self._wire.errors():
            response = await self._transport.handle_async_request(self._wire.request(wanted))
            if response.status_code == _SWITCHING:
                return _head(response), response.extensions["network_stream"]
            try:
                return await steps.whole(response, _FAR_BEYOND), None
            finally:
                await response.aclose()

    async def run(self, call: Call[T]) -> T:
        """Do a call; its result."""
        steps = _AsyncSteps(self._transport, self._wire)
        call = patient(call, self._retries)
        try:
            step = next(call)
            while True:
                try:
                    came = await steps.do(step)
                except Exception as error:  # noqa: BLE001 - the call decides
                    step = call.throw(error)
                else:
                    step = call.send(came)
        except StopIteration as end:
            return cast("T", end.value)
        finally:
            call.close()
            await steps.close()

    async def iterate(self, flow: Flow[T]) -> AsyncGenerator[T, None]:
        """Do a flow; its items."""
        steps = _AsyncSteps(self._transport, self._wire)
        flow = patient(flow, self._retries)
        try:
            step = next(flow)
            while True:
                try:
                    came: object = None
                    if isinstance(step, Item):
                        yield step.value
                    else:
                        came = await steps.do(step)
                except Exception as error:  # noqa: BLE001 - the flow decides
                    step = flow.throw(error)
                else:
                    step = flow.send(came)
        except StopIteration:
            return
        finally:
            flow.close()
            await steps.close()


class _AsyncSteps:
    """The same as `_Steps`, awaited."""

    def __init__(self, transport: httpx2.AsyncHTTPTransport, wire: Wire) -> None:
        self._transport = transport
        self._wire = wire
        self._open: httpx2.Response | None = None
        self._parts: AsyncGenerator[bytes, None] | None = None

    async def do(self, step: Step) -> object:
        if isinstance(step, Request):
            return await self._ask(step)
        if isinstance(step, More):
            with self._wire.errors():
                return b"" if self._parts is None else await anext(self._parts, b"")
        if isinstance(step, Open):
            return await self._begin(step.request)
        if isinstance(step, Pause):
            await asyncio.sleep(step.seconds)
            return None
        return await asyncio.to_thread(step.function)

    async def _ask(self, wanted: Request) -> Reply:
        with self._wire.errors():
            response = await self._transport.handle_async_request(self._wire.request(wanted))
            try:
                return await self.whole(response, wanted.most)
            finally:
                await response.aclose()

    async def whole(self, response: httpx2.Response, most: int) -> Reply:
        head = _head(response)
        body = _Body(most if _is_fine(response) else _FAR_BEYOND)
        async for part in response.aiter_raw():
            body.add(part)
        return body.whole(head)

    async def _begin(self, wanted: Request) -> Reply:
        await self.close()
        with self._wire.errors():
            response = await self._transport.handle_async_request(self._wire.request(wanted))
            self._open = response
            if not _is_fine(response):
                return await self.whole(response, _FAR_BEYOND)
            self._parts = response.aiter_raw()
            return _head(response)

    async def close(self) -> None:
        response, self._open = self._open, None
        if response is not None:
            with self._wire.errors():
                await response.aclose()


Anything = Any
