"""Lists out: slice by slice, in bounded memory, and honest about where they were cut."""

from __future__ import annotations

import time
from functools import partial
from itertools import chain, islice
from typing import TYPE_CHECKING, Final, Generic, NamedTuple, TypeVar

from aiohttp import web
from pydantic_core import to_json

from farpeek_api.http import render
from farpeek_api.http.answers import JSON_HEADERS
from farpeek_api.http.turns import turn
from farpeek_api.serving.connection import client_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from farpeek.memory import MemoryService

T = TypeVar("T")

MOST: Final = 65_536
"""Items of one answer; `?from=` goes on behind them."""

SLICE_COST: Final = 2 << 20
"""Bytes that a slice may take: a target has some 1,200, and at most 4 KiB each of labels and
arguments."""


class Listing(NamedTuple, Generic[T]):
    """What is listed: under which name, how an item looks, and what `from` means for it."""

    name: str
    items: Iterable[T]
    show: Callable[[T], Mapping[str, object]]
    place: Callable[[T], int]


class Lists:
    """Sends lists of any length."""

    def __init__(self, service: MemoryService) -> None:
        self._service = service

    async def send(self, request: web.Request, listing: Listing[T]) -> web.StreamResponse:
        """Send a short list whole, and a long one as the client takes it.

        After the deadline, or `MOST` items, it is cut: the answer says ``truncated``, and the
        ``next`` place to begin at.
        """
        items = iter(listing.items)
        write = render.objects(listing.show)
        first = list(islice(items, render.AT_ONCE + 1))
        head = b'{"%b":[' % listing.name.encode()
        if len(first) <= render.AT_ONCE or request.method == "HEAD":
            return web.Response(body=head + write(first) + b"]}", headers=JSON_HEADERS)
        with self._service.lease_bytes(SLICE_COST, client_of(request)):
            return await self._stream(request, head, chain(first, items), listing)

    async def _stream(
        self, request: web.Request, head: bytes, items: Iterator[T], listing: Listing[T]
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers=JSON_HEADERS)
        await response.prepare(request)
        write = render.objects(listing.show)
        give_up = time.monotonic() + self._service.limits.deadline_s
        separator, left = head, MOST
        while shown := list(islice(items, min(render.SLICE, left))):
            await response.write(separator + await turn(partial(write, shown)))
            await request.writer.drain()
            separator, left = b",", left - len(shown)
            if time.monotonic() > give_up:
                break
        await response.write(b"]" + _end(next(items, None), listing.place))
        await response.write_eof()
        return response


def _end(behind: T | None, place: Callable[[T], int]) -> bytes:
    if behind is None:
        return b"}"
    return b"," + to_json({"truncated": True, "next": place(behind)})[1:]


def beginning(items: Sequence[T], first: int, place: Callable[[T], int]) -> list[T]:
    """Give the items from a place on, in the order of their places."""
    return sorted((each for each in items if place(each) >= first), key=place)
