"""A service's address, and how requests and answers look on httpcore2."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode, urlsplit

import httpcore2

from farpeek_api.client.address import complaint
from farpeek_api.client.problems import BadAnswer, Interrupted, Unreachable
from farpeek_api.client.steps import Reply, Request

if TYPE_CHECKING:
    import ssl
    from collections.abc import Generator

    from farpeek_api.client.address import Place

CONNECT_S: Final = 10.0
_MOST_URLS: Final = 256
_NOT_CONNECTED: Final = (httpcore2.ConnectError, httpcore2.ConnectTimeout)
_BROKEN: Final = (
    httpcore2.NetworkError,
    httpcore2.ProtocolError,
    httpcore2.TimeoutException,
)


class Wire:
    """A service as both drivers see it.

    Raises ValueError for an address that has no such host, or no such port.
    """

    def __init__(self, place: Place, verify: ssl.SSLContext | None) -> None:
        self.place = place
        self.verify = verify
        self.socket = None if place.socket is None else str(place.socket)
        parts = urlsplit(place.base)
        host = parts.hostname or ""
        self._host = host.encode("ascii" if host.isascii() else "idna")
        self._scheme, self._port, self._path = parts.scheme.encode(), parts.port, parts.path
        shown = b"[%b]" % self._host if b":" in self._host else self._host
        port = b"" if parts.port is None else b":%d" % parts.port
        self._headers = [
            (b"Host", shown + port),
            (b"Accept-Encoding", b"identity"),
            (b"User-Agent", b"farpeek"),
        ]
        if place.token is not None:
            self._headers.append((b"Authorization", f"Bearer {place.token}".encode()))
        self._urls: dict[tuple[object, ...], httpcore2.URL] = {}

    def request(self, wanted: Request) -> httpcore2.Request:
        """Write a request as httpcore2 has it."""
        silence_s = wanted.silence_s
        waits = {"connect": CONNECT_S, "read": silence_s, "write": silence_s, "pool": silence_s}
        headers = [*self._headers, *((k.encode(), v.encode()) for k, v in wanted.headers.items())]
        if wanted.body or wanted.method == "POST":
            headers.append((b"Content-Length", b"%d" % len(wanted.body)))
        return httpcore2.Request(
            wanted.method,
            self._url(wanted),
            headers=headers,
            content=wanted.body or None,
            extensions={"timeout": waits},
        )

    def _url(self, wanted: Request) -> httpcore2.URL:
        """Give a request's URL; those of small reads are the same again and again."""
        name = (wanted.path, *wanted.query.items())
        url = self._urls.get(name)
        if url is None:
            query = f"?{urlencode(wanted.query)}" if wanted.query else ""
            target = f"{self._path}{wanted.path}{query}".encode()
            url = httpcore2.URL(
                scheme=self._scheme, host=self._host, port=self._port, target=target
            )
            if len(self._urls) >= _MOST_URLS:
                self._urls.clear()
            self._urls[name] = url
        return url

    @contextmanager
    def errors(self) -> Generator[None, None, None]:
        """Say what httpcore2's errors mean."""
        try:
            yield
        except _NOT_CONNECTED as error:
            if self.place.node is not None:
                raise Unreachable(str(error)) from error
            raise Unreachable(complaint(self.place.shown, _cause(error))) from error
        except httpcore2.ReadTimeout as error:
            raise Interrupted(f"{self.place.shown} did not go on with its answer") from error
        except _BROKEN as error:
            why = str(error) or type(error).__name__
            raise Interrupted(f"{self.place.shown} ended the answer: {why}") from error


def _cause(error: BaseException) -> OSError | None:
    """Find the system's error behind httpcore2's."""
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, OSError):
            return found
        found = found.__cause__ or found.__context__
    return None


def head(response: httpcore2.Response) -> Reply:
    """Take the head of an answer."""
    headers = {k.decode("latin-1").lower(): v.decode("latin-1") for k, v in response.headers}
    if "content-encoding" in headers:
        raise BadAnswer("the answer is encoded, which was not asked for")
    return Reply(response.status, headers)
