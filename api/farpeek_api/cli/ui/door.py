"""Who gets through the listener: the page that it has served, and that has shown the secret.

Behind it is the service as the user of the command may use it, so nothing else in a browser, and
nobody else on this host, is to get there. The secret is in the address that is printed, where
others may see it (a browser's command line is anybody's to read), so it is good once: for the token
that the page keeps, and sends with whatever it asks for.
"""

from __future__ import annotations

import json
import re
from enum import Enum, auto
from hmac import compare_digest
from secrets import token_urlsafe
from typing import TYPE_CHECKING, Any, Final, cast

if TYPE_CHECKING:
    import h11

EXCHANGE_PATH: Final = b"/ui-session"
STREAM_PATH: Final = b"/v1/stream"

_HOST: Final = re.compile(r"(?:127\.0\.0\.1|localhost|\[::1\])(?::[0-9]{1,5})?", re.IGNORECASE)
"""Of any port, for the page may be looked at through a tunnel of ssh's."""

_ASSET: Final = re.compile(rb"/(?:ui/[A-Za-z0-9_-][A-Za-z0-9._-]*)?")
_TICKET: Final = re.compile(r"farpeek\.ticket\.([A-Za-z0-9_-]{1,128})")
_BEARER: Final = re.compile(r"bearer +(\S+)", re.IGNORECASE)

AGAIN: Final = "run `farpeek ui` again, and open the address that it prints"


class Refused(Exception):
    """A request that is answered here, by a problem (RFC 9457)."""

    def __init__(self, status: int, slug: str, title: str, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.headers = [("WWW-Authenticate", "Bearer")] if status == 401 else []  # noqa: PLR2004
        self.problem: dict[str, Any] = {
            "type": f"urn:farpeek:problem:{slug}",
            "title": title,
            "status": status,
            "detail": detail,
        }


def malformed(detail: str) -> Refused:
    """Refuse what is no HTTP, or no JSON, as it should be."""
    return Refused(400, "malformed", "The request cannot be understood", detail)


def unauthenticated(detail: str) -> Refused:
    """Refuse who has not shown the secret."""
    return Refused(401, "unauthenticated", "It is not known who asks", detail)


def forbidden(detail: str) -> Refused:
    """Refuse what a browser was tricked into."""
    return Refused(403, "forbidden", "This is not allowed", detail)


def unreachable(detail: str) -> Refused:
    """Refuse what the service is not there for."""
    refused = Refused(502, "unreachable", "The service does not answer", detail)
    refused.headers = [("Retry-After", "1")]
    refused.problem["retryable"] = True
    return refused


class Way(Enum):
    """How a request goes on."""

    EXCHANGE = auto()
    """It is answered here."""
    LOADING = auto()
    """To the service, where nobody needs a credential for it."""
    TICKETED = auto()
    """To the service, with a ticket, which that one judges."""
    KNOWN = auto()
    """To the service, for the user of the command."""


class Door:
    """Lets requests in, or says why not."""

    def __init__(self) -> None:
        self.secret = token_urlsafe(32)
        self._is_used = False
        self._token = token_urlsafe(32)

    def admit(self, request: h11.Request) -> Way:
        """Tell how a request goes on. Raises Refused."""
        _check_origin(request)
        path = request.target.partition(b"?")[0]
        if request.method == b"POST" and path == EXCHANGE_PATH:
            return Way.EXCHANGE
        if request.method in (b"GET", b"HEAD") and _ASSET.fullmatch(path):
            return Way.LOADING
        authorization = _one(request, b"authorization")
        is_stream = request.method == b"GET" and path == STREAM_PATH
        if is_stream and authorization is None and ticket(request) is not None:
            return Way.TICKETED
        found = _BEARER.fullmatch(authorization or "")
        if found is None or not _same(found[1], self._token):
            raise unauthenticated(f"this page is not known here, or not any more: {AGAIN}")
        return Way.KNOWN

    def exchange(self, body: bytes) -> str:
        """Give the token for the secret, once. Raises Refused."""
        try:
            shown = json.loads(body)
        except (ValueError, RecursionError):
            shown = None
        secret = cast("dict[str, object]", shown).get("secret") if isinstance(shown, dict) else None
        if not isinstance(secret, str):
            raise malformed('send `{"secret": "..."}`, with what the address has behind `secret=`')
        if not _same(secret, self.secret):
            raise unauthenticated(f"the address is not one of this `farpeek ui`: {AGAIN}")
        if self._is_used:
            raise unauthenticated(f"the address was opened already, and is good once: {AGAIN}")
        self._is_used = True
        return self._token


def ticket(request: h11.Request) -> str | None:
    """Give the ticket that a request for a stream has, if it has one."""
    offered = [
        part.strip()
        for name, value in request.headers
        if name == b"sec-websocket-protocol"
        for part in value.decode("latin-1").split(",")
    ]
    found = [match[1] for match in map(_TICKET.fullmatch, offered) if match is not None]
    return found[0] if len(found) == 1 else None


def _check_origin(request: h11.Request) -> None:
    if not request.target.startswith(b"/"):
        raise malformed("the request line has a path, and nothing before it")
    host = _one(request, b"host") or ""
    if not _HOST.fullmatch(host):
        raise forbidden("the Host of the request is no name of this host's own: call 127.0.0.1")
    origin = _one(request, b"origin")
    if origin is not None and origin.lower() != f"http://{host.lower()}":
        raise forbidden("a web page of another origin may not call this one")


def _one(request: h11.Request, wanted: bytes) -> str | None:
    """Give a header that may be there once. Raises Refused."""
    values = [value for name, value in request.headers if name == wanted]
    if len(values) > 1:
        raise malformed(f"the header {wanted.decode()} comes twice: send it once")
    return values[0].decode("latin-1") if values else None


def _same(shown: str, right: str) -> bool:
    return compare_digest(shown.encode("utf-8", "surrogatepass"), right.encode())
