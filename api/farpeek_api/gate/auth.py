"""Who gets in: peers of a unix socket, bearers of a token; and no web page."""

from __future__ import annotations

import os
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from farpeek.kernel import users
from farpeek_api.gate import tickets
from farpeek_api.gate.head import authority_of
from farpeek_api.gate.identifying import (
    ON_BEHALF_OF,
    Asker,
    check_asking,
    for_itself,
    identify,
)
from farpeek_api.http.refusals import Forbidden, Unauthenticated
from farpeek_api.policy.current import CurrentPolicy
from farpeek_api.serving.connection import connection_of
from farpeek_api.serving.listeners import TcpAddress, is_loopback, is_wildcard, plain_host

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from aiohttp import web

    from farpeek_api.gate.tokens import Tokens
    from farpeek_api.serving.connection import Connection
    from farpeek_api.serving.listeners import Address

_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^:\[\]@/]+)(:[0-9]{1,5})?")
_BARE_NAME = re.compile(r"[a-z][a-z0-9_-]*")
_LONGEST_HOST: Final = 262
"""Of a name (RFC 1035: 255) with a port."""


class Authenticator:
    """Lets a request in, or says why not. ``tokens`` is ``None`` where no token helps."""

    def __init__(
        self,
        addresses: Iterable[Address],
        allowed_hosts: Sequence[str],
        tokens: Tokens | None,
        *,
        everybody: bool = False,
        current: CurrentPolicy | None = None,
        streams: re.Pattern[str] = tickets.STREAMS,
    ) -> None:
        hosts = [each.host for each in addresses if isinstance(each, TcpAddress)]
        self._names = {plain_host(name) for name in (*hosts, *allowed_hosts)}
        self._wildcard = any(is_wildcard(host) for host in hosts)
        self._tokens = tokens
        self._everybody = everybody
        self._streams = streams
        self._current = current or CurrentPolicy()
        self.tickets = tickets.Tickets(self._current)
        self._trusted_uids = trusted_uids()
        # The same few hosts come with every request.
        self._is_ours = lru_cache(maxsize=256)(self._find_ours)

    def check_origin(self, request: web.BaseRequest) -> None:
        """Raise Forbidden unless it calls us by a name of ours, and from no page of others'."""
        headers = request.headers
        connection = connection_of(request)
        host = headers.get("Host", "")
        # A target in absolute form names a host too, which HTTP puts above that of the header.
        for name in (host, authority_of(request.raw_path)):
            if name is not None and not self._names_us(name, connection.local_host):
                raise Forbidden(
                    "the Host of the request is not a name of this service: call it by localhost "
                    "or an address it listens on, or allow the name with --allow-host"
                )
        origin = headers.get("Origin")
        if origin is not None and origin.lower() not in _own_origins(host):
            raise Forbidden("a web page of another origin may not call this service")

    def identify(self, request: web.BaseRequest) -> Asker:
        """Name whoever's request may go on; ``Forbidden`` or ``Unauthenticated`` otherwise.

        Whoever has the same name shares what one client may have.
        """
        headers = request.headers
        connection = connection_of(request)
        if self._streams.fullmatch(request.path):
            ticket = tickets.offered(headers)
            if ticket is not None:
                return self._by_ticket(ticket, headers, connection)
        policy = self._current.policy
        if policy is not None:
            return identify(policy, headers, connection)
        if ON_BEHALF_OF in headers:
            raise Forbidden(f"`{ON_BEHALF_OF}` is for clients of a policy: start it with --policy")
        return for_itself(self._name(request, connection))

    def look(self, asker: Asker) -> None:
        """Raise Forbidden once the policy lets the one no more ask for the other."""
        check_asking(self._current.policy, asker)

    def _by_ticket(self, ticket: str, headers: Mapping[str, str], connection: Connection) -> Asker:
        """Name for whom a ticket was made, by whatever that one had shown then."""
        if "Authorization" in headers:
            raise Unauthenticated("there is a token and a ticket: send one of them")
        if ON_BEHALF_OF in headers:
            raise Forbidden(f"a ticket says for whom it is: `{ON_BEHALF_OF}` goes where it is made")
        return self.tickets.use(ticket, connection)

    def _name(self, request: web.BaseRequest, connection: Connection) -> str:
        """Name a client where there is no policy that does."""
        authorization = None if self._everybody else request.headers.get("Authorization")
        # What is sent is judged: behind a proxy that runs as root everybody's peer is root.
        if authorization is None and (self._everybody or connection.peer_uid in self._trusted_uids):
            uid = connection.peer_uid
            return f"from {request.remote}" if uid is None else f"uid {uid}"
        if authorization is None and connection.certificate is not None:
            return f"certificate {connection.certificate.subject}"
        return f"token {self._check_token(authorization)}"

    def _names_us(self, host: str, local_host: str | None) -> bool:
        return len(host) <= _LONGEST_HOST and self._is_ours(host, local_host)

    def _find_ours(self, host: str, local_host: str | None) -> bool:
        parts = _HOST.fullmatch(host)
        if parts is None:
            return False
        name = plain_host(parts[1])
        if name in self._names or _wildcard(name) in self._names or is_loopback(name):
            return True
        if local_host is None:  # a unix socket, which no web page can reach
            return _BARE_NAME.fullmatch(name) is not None
        return self._wildcard and name == plain_host(local_host)

    def _check_token(self, authorization: str | None) -> int:
        """Answer which token it is."""
        if authorization is None:
            raise Unauthenticated(
                "only root and the service's own user get in without a token: send "
                "`Authorization: Bearer TOKEN`"
            )
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer":
            raise Unauthenticated("only `Authorization: Bearer TOKEN` is understood")
        number = None if self._tokens is None else self._tokens.number_of(token.strip())
        if number is None:
            raise Unauthenticated("the token is not one that this service knows")
        return number


def _wildcard(name: str) -> str:
    """Write what stands for a name with any first label, as in certificates (RFC 9525, 6.3)."""
    label, _, rest = name.partition(".")
    return f"*.{rest}" if label else name


def _own_origins(host: str) -> tuple[str, str]:
    host = host.lower()
    return f"http://{host}", f"https://{host}"


def trusted_uids() -> frozenset[int]:
    """Give the users that a unix socket lets in: root and the service's own.

    In a user namespace the kernel shows all users that are not mapped as the overflow uid; that
    one is nobody's own unless the namespace maps them all.
    """
    own = os.geteuid()
    if own == users.overflow_uid() and not users.all_are_mapped():
        return frozenset({0})
    return frozenset({0, own})
