"""Both clients by one suite: the asynchronous one is driven so that it looks like the other."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from farpeek_api.client import AsyncClient, AsyncTarget, Client, Target

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator

    from support.sample import Sample
    from support.wire import Served

ADDRESS_VARIABLES = ("FARPEEK_URL", "FARPEEK_TOKEN_FILE")


@pytest.fixture(autouse=True)
def _no_address_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ADDRESS_VARIABLES:
        monkeypatch.delenv(name, raising=False)


class Awaited:
    """Stands for an asynchronous client or target, and awaits all that it is asked for."""

    def __init__(self, inner: object, runner: asyncio.Runner) -> None:
        self._inner = inner
        self._runner = runner

    def __getattr__(self, name: str) -> object:
        found = getattr(self._inner, name)
        if not callable(found):
            return found

        def method(*args: object, **kwargs: object) -> object:
            result = found(*args, **kwargs)
            if hasattr(result, "__aiter__"):
                return _items(result, self._runner)
            return self._shown(self._runner.run(_awaited(result)))

        return method

    def _shown(self, result: object) -> object:
        if isinstance(result, AsyncTarget):
            return Awaited(result, self._runner)
        return result


async def _awaited(awaitable: Awaitable[object]) -> object:
    return await awaitable


def _items(items: AsyncGenerator[Any, None], runner: asyncio.Runner) -> Iterator[Any]:
    try:
        while True:
            try:
                yield runner.run(_awaited(anext(items)))
            except StopAsyncIteration:
                return
    finally:
        runner.run(items.aclose())


@pytest.fixture(params=["Client", "AsyncClient"])
def connect(request: pytest.FixtureRequest) -> Iterator[Callable[..., object]]:
    """Make clients of either kind; they are closed at the end."""
    made: list[Any] = []
    with asyncio.Runner() as runner:

        def make(*args: object, **kwargs: object) -> object:
            if request.param == "Client":
                client: Any = Client(*args, **kwargs)
            else:
                client = Awaited(AsyncClient(*args, **kwargs), runner)
            made.append(client)
            return client

        yield make
        for client in made:
            client.close()


@pytest.fixture
def url(served: Served) -> str:
    return f"unix:{served.path}"


@pytest.fixture
def peek(connect: Callable[..., Client], url: str) -> Client:
    return connect(url)


@pytest.fixture
def seen(peek: Client, sample: Sample) -> Target:
    """Return the sample process as a target of the client."""
    return peek.target(sample.pid)
