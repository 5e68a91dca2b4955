"""What is looked at of a request before anything else: its head, and how much of it there is.

aiohttp takes more than HTTP/1.1 allows, and evaluates some headers in a way that a stranger can
make fail. Whatever passes here has each header that decides something once, and in ASCII.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from aiohttp import HttpVersion10, HttpVersion11

from farpeek_api.http.refusals import BodyTooLarge, Malformed, UnsupportedExpectation

if TYPE_CHECKING:
    from aiohttp import web

_ONCE: Final = frozenset(
    {
        b"accept-encoding",
        b"authorization",
        b"content-encoding",
        b"content-type",
        b"expect",
        b"farpeek-not-after",
        b"farpeek-on-behalf-of",
        b"host",
        b"last-event-id",
        b"origin",
        b"sec-websocket-key",
        b"sec-websocket-protocol",
        b"sec-websocket-version",
        b"upgrade",
    }
)
"""Headers of which only one is looked at, by us or by aiohttp: a second one could say otherwise."""

_AUTHORITY: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://([^/?#]*)")


def check_head(request: web.BaseRequest, largest: int, largest_body: int) -> None:
    """Return for a request whose head is HTTP/1.x as it should be; a ``Refusal`` otherwise.

    ``largest`` is for all headers together: 128 of 8 KiB, each legal, are a megabyte to look at.
    """
    if request.version not in (HttpVersion10, HttpVersion11):
        # The answer would carry the version of the request, which this service does not speak.
        request._cache["version"] = HttpVersion11  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - there is no other way to say it
        raise Malformed("the request line names another version than HTTP/1.1 or HTTP/1.0")
    _check_headers(request, largest)
    expectation = request.headers.get("Expect", "100-continue")
    if expectation.lower() != "100-continue":
        raise UnsupportedExpectation("only `Expect: 100-continue` is understood")
    # Before aiohttp answers 100, and the client sends all of it.
    if (request.content_length or 0) > largest_body:
        raise BodyTooLarge(largest_body)


def _check_headers(request: web.BaseRequest, largest: int) -> None:
    size = 0
    seen: set[bytes] = set()
    for name, value in request.raw_headers:
        size += len(name) + len(value)
        known = name.lower()
        if known not in _ONCE:
            continue
        if known in seen:
            raise Malformed(f"the header {known.decode()} comes twice: send it once")
        if not value.isascii():
            raise Malformed(f"the header {known.decode()} has bytes that are not ASCII")
        seen.add(known)
    if size > largest:
        raise Malformed(
            f"the headers have over {largest} bytes together (--max-head-bytes): send fewer"
        )


def authority_of(target: str) -> str | None:
    """Give the host that a request target in absolute form names; RFC 9112, section 3.2.2."""
    found = _AUTHORITY.match(target)
    return None if found is None else found[1]
