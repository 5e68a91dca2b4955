"""Both clients by one suite: the asynchronous one is driven so that it looks like the other."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from farpeek_api.client import AsyncClient, AsyncMemoryFile, AsyncTarget, Client, Target

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
            result = found(*map(_unwrapped, args), **kwargs)
            if hasattr(result, "__aiter__"):
                return _items(result, self._runner)
            if not hasattr(result, "__await__"):
                return self._shown(result)
            return self._shown(self._runner.run(_awaited(result)))

        return method

    def _shown(self, result: object) -> object:
        if isinstance(result, (AsyncTarget, AsyncMemoryFile)):
            return Awaited(result, self._runner)
        return result


def _unwrapped(value: object) -> object:
    return value._inner if isinstance(value, Awaited) else value  # noqa: SLF001 - of this module


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


@pytest.fixture
def target_json() -> bytes:
    """Write a target as a service would."""
    moment = "2026-06-02T12:23:26.120Z"
    process = {"pid": 4242, "ns_pids": [4242], "start_time": moment, "comm": "c", "exe": None}
    owner = {"uid": 0, "gid": 0, "cgroup": None, "container": None, "labels": {}}
    machine = {"pointer_size": 8, "byte_order": "little", "page_size": 4096, "generation": 1}
    state = {"state": "running", "registered_at": moment, "exited_at": None, "exit": None}
    shown = {"id": "4242-1", **process, **owner, **machine, **state, "of_the_future": [1]}
    return json.dumps(shown).encode()
