"""One client's connection: who it is, bad requests, and clients that do not read their answer."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from aiohttp import http_exceptions as parser_errors
from aiohttp import web

from farpeek.errors import TooBusy
from farpeek_api.http import problems, refusals
from farpeek_api.serving import parsing, peer
from farpeek_api.serving.gathered import GatheringTransport
from farpeek_api.serving.logs import log
from farpeek_api.serving.peer import Peer
from farpeek_api.serving.sliced import SlicedTransport
from farpeek_api.serving.tls import certificate

if TYPE_CHECKING:
    from asyncio.trsock import TransportSocket
    from collections.abc import Callable

    from farpeek_api.audit import entry as audit
    from farpeek_api.audit.entry import Entry
    from farpeek_api.serving.bounds import Bounds
    from farpeek_api.serving.connections import Connections
    from farpeek_api.serving.tls import Certificate

LINGERING_S: Final = 1.0
"""For a body that nobody wants, so that its sender still sees the answer. It is thrown away."""

LARGEST_TAKEN: Final = 64 << 10
"""Bytes of such a body that are waited for, and the connection kept."""

REFUSING_S: Final = 1.0
"""For a request to come on a connection that is one too many, so that its sender is told why, and
for it to hang up."""

LOOK_S: Final = 1.0
"""Between looks at a client that says no more, whether it still takes its answer."""

GOODBYE_S: Final = 2.0
"""For a client to take what it was sent, and why it is cut off, when it was told so."""

_LEAST: Final = 1
"""Bytes that wait to be taken, from which on it is a pause. Not 0: by that, uvloop's TLS pauses
where nothing waits, and does not go on (0.23: ``size >= high`` in sslproto.pyx)."""


class Writer(Protocol):
    """Whoever talks on a connection without awaiting, and so has to be told how it goes."""

    def bytes_came(self, data: bytes) -> None:
        """The client has sent these, of whatever."""
        ...

    def may_write(self) -> None:
        """The client has taken what was there."""
        ...

    def too_slow(self) -> None:
        """It has not; it is cut off in `GOODBYE_S`."""
        ...


class Connection(web.RequestHandler):
    """aiohttp's protocol, with its own answers to bad requests replaced and all waits bounded.

    ``writer`` is told when the client takes what it is sent, and when it does not.
    """

    __slots__ = (
        "_connections",
        "_cut_off",
        "_deadline_s",
        "_gone",
        "_half_closed",
        "_head_s",
        "_head_timer",
        "_ignores_input",
        "_raw_transport",
        "_refusal",
        "certificate",
        "client",
        "entry",
        "is_known",
        "local_host",
        "peer",
        "whence",
        "writer",
    )

    def __init__(
        self,
        server: web.Server,
        connections: Connections,
        bounds: Bounds,
        **options: Any,  # noqa: ANN401 - aiohttp's own
    ) -> None:
        super().__init__(server, loop=asyncio.get_running_loop(), **options)
        self._connections = connections
        self._refusal: TooBusy | None = None  # why it is not served
        self.peer: Peer | None = None  # of a unix socket
        self.local_host: str | None = None
        self.certificate: Certificate | None = None  # of a client by TLS, verified
        self._deadline_s = bounds.deadline
        self._head_s = bounds.head_timeout
        self._head_timer: asyncio.TimerHandle | None = None
        self._cut_off: asyncio.TimerHandle | None = None
        self._gone: asyncio.Future[None] | None = None
        self._raw_transport: asyncio.Transport | None = None
        self._half_closed: asyncio.TimerHandle | None = None  # looks at a client that says no more
        self._ignores_input = False
        self.writer: Writer | None = None
        self.client = ""  # who has put its last request: a user, a token, an address
        self.is_known = False  # one of its requests was let in
        self.whence: audit.Peer = ""  # the other end, as the audit has it
        self.entry: Entry  # of the request that is served

    @property
    def peer_uid(self) -> int | None:
        """Whose process is at the other end of a unix socket."""
        return None if self.peer is None else self.peer.uid

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Find out who it is: a user on a unix socket, or the address that was called."""
        # uvloop's transports are asyncio's in all but name.
        self._raw_transport = raw = cast("asyncio.Transport", transport)
        # With no slack, a pause means that the client itself does not take its answer.
        raw.set_write_buffer_limits(high=_LEAST)
        sock = transport.get_extra_info("socket")
        if sock.family == socket.AF_UNIX:
            self.peer = Peer.of(sock)
            self.whence = self.peer.uid, self.peer.pid
        else:
            self.local_host = transport.get_extra_info("sockname")[0]
            self.whence = peer.address(transport.get_extra_info("peername"))
            self.certificate = certificate(transport.get_extra_info("peercert"))
            if transport.get_extra_info("sslcontext") is not None:
                self._raw_transport = transport = SlicedTransport(raw)
        try:
            self._connections.enter(self, self.peer_uid)
        except TooBusy as error:
            self._refuse(error)
        else:
            super().connection_made(transport)

    def _refuse(self, error: TooBusy) -> None:
        """Answer the first request with ``error``, if it comes soon."""
        self._refusal = error
        self._cut_off = asyncio.get_running_loop().call_later(REFUSING_S, self.drop)

    def _answer_refused(self, refusal: Exception) -> None:
        """Answer, and let the client hang up first: else what it still sends fails before."""
        self._ignores_input = True
        if self._raw_transport is not None:
            self._raw_transport.write(problems.message(refusal))
            if self._raw_transport.can_write_eof():
                self._raw_transport.write_eof()
            else:  # TLS has no half of a connection
                self._raw_transport.close()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Stop all clocks, and tell who waits on behalf of this client."""
        for timer in (self._cut_off, self._half_closed, self._head_timer):
            if timer is not None:
                timer.cancel()
        if self._gone is not None and not self._gone.done():
            self._gone.set_result(None)
        self._connections.leave(self)
        if self._refusal is None:
            super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Pass on what the client has sent."""
        if self._ignores_input:
            return
        if self._refusal is not None:
            self._answer_refused(self._refusal)
            return
        if self.writer is not None:
            self.writer.bytes_came(data)
        super().data_received(data)
        if self.is_idle is not (self._head_timer is not None):
            self._time_head()

    def _time_head(self) -> None:
        """Start the clock where a head has begun, and stop it where that is whole."""
        if self._head_timer is None:
            loop = asyncio.get_running_loop()
            self._head_timer = loop.call_later(self._head_s, self._head_is_late)
        else:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_is_late(self) -> None:
        self._answer_refused(
            refusals.SlowRequest(
                f"the head did not arrive within {self._head_s:g} s (--head-timeout): send it at "
                "once"
            )
        )
        self._cut_off = asyncio.get_running_loop().call_later(REFUSING_S, self.drop)

    @property
    def unix_socket(self) -> TransportSocket | None:
        """The socket, if it is a unix socket and open."""
        if self.peer_uid is None or self._raw_transport is None:
            return None
        sock: TransportSocket | None = self._raw_transport.get_extra_info("socket")
        return sock

    @property
    def early_bytes(self) -> bytes:
        """What has come behind a request for another protocol, and was not taken yet."""
        return bytes(self._message_tail)  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType] - bytes, unannotated

    def eof_received(self) -> bool | None:  # type: ignore[override] # aiohttp's never keeps it open
        """Answer what is under way: a client that says no more still listens (shutdown(2)).

        True keeps the connection open.
        """
        if (
            self._refusal is not None
            or self._raw_transport is None
            or not self._raw_transport.can_write_eof()  # TLS has no half of a connection
            or self._payload_parser is not None
            or self.is_idle
            or self._lacks_a_body
        ):
            return None  # there is nothing to answer
        self._half_closed = asyncio.get_running_loop().call_later(LOOK_S, self._look_again)
        return True

    @property
    def is_idle(self) -> bool:
        """Whether it waits for a request."""
        return self._waiter is not None and not self._waiter.done()

    @property
    def _lacks_a_body(self) -> bool:
        """Whether a request's body has not come as a whole."""
        if any(not payload.is_eof() for _, payload in self._messages):
            return True
        request = self._current_request
        return self._ignores_input or (request is not None and not request.content.is_eof())

    def _look_again(self) -> None:
        """Let a client go that has said no more, once it is answered or takes nothing any more."""
        if self.is_idle or self._has_hung_up():
            self.drop()
        else:
            self._half_closed = asyncio.get_running_loop().call_later(LOOK_S, self._look_again)

    def _has_hung_up(self) -> bool:
        if self._raw_transport is None:
            return True
        return peer.has_hung_up(self._raw_transport.get_extra_info("socket").fileno())

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send the end of an answer; close behind it where no further request can come."""
        is_last = self._half_closed is not None and not self._messages
        # Only with its answer is it known that nobody reads the rest of a body. A short one is
        # taken all the same: many clients send it apart, and see no answer where that fails.
        is_short = (request.content_length or LARGEST_TAKEN + 1) <= LARGEST_TAKEN
        has_rest = not request.content.is_eof() and not is_short
        if is_last or has_rest:
            resp.force_close()
        self._ignores_input = has_rest
        return await super().finish_response(request, resp, start_time)

    def know(self, client: str, most: int | None = None) -> None:
        """Note who has put a request that was let in; TooBusy if it has too many connections.

        ``most`` is how many the policy lets it have.
        """
        self._connections.know(self, client, most)
        self.client = client
        self.is_known = True

    def gone(self) -> asyncio.Future[None]:
        """Give a future that is done once the client has gone."""
        if self._gone is None:
            self._gone = asyncio.get_running_loop().create_future()
            if not self.connected:
                self._gone.set_result(None)
        return self._gone

    def gather_writes(self, most: int) -> None:
        """From now on, send by one call what is written in one turn, to ``most`` bytes."""
        if self._raw_transport is not None:
            self._raw_transport.set_write_buffer_limits(high=most)
            self.transport = GatheringTransport(self._raw_transport, most)

    def pause_writing(self) -> None:
        """Start the clock: the client must take what is there before the deadline."""
        super().pause_writing()
        loop = asyncio.get_running_loop()
        self._cut_off = loop.call_later(self._deadline_s, self._give_up)

    def resume_writing(self) -> None:
        """Stop the clock."""
        if self._cut_off is not None:
            self._cut_off.cancel()
        super().resume_writing()
        if self.writer is not None:
            self.writer.may_write()

    def _give_up(self) -> None:
        log.warning("a client took nothing of its answer for %g s and is cut off", self._deadline_s)
        if self.writer is None:
            self.drop()
            return
        self._cut_off = asyncio.get_running_loop().call_later(GOODBYE_S, self.drop)
        self.writer.too_slow()

    def drop(self) -> None:
        """End it at once."""
        if self._raw_transport is not None:
            self._raw_transport.abort()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - it quotes header lines, Authorization included
    ) -> web.StreamResponse:
        """Answer what the parser refused, or what went wrong outside of the gate."""
        if isinstance(exc, ConnectionError):
            raise exc  # aiohttp ends the connection without a word
        if request.writer.output_size > 0:
            raise ConnectionError("the answer has begun already")
        error: Exception = refusals.Malformed(parsing.explain(exc))
        if not isinstance(exc, parser_errors.HttpProcessingError):
            log_failure(self, exc or RuntimeError(f"status {status}"))
            error = RuntimeError()
        response = problems.answer(error)
        response.force_close()
        return response


def connection_of(request: web.BaseRequest) -> Connection:
    """Give the connection that a request came by."""
    connection = request.protocol
    assert isinstance(connection, Connection)  # noqa: S101 - tells the type checkers
    return connection


def entry_of(request: web.BaseRequest) -> Entry:
    """Give what the audit will tell of a request."""
    return connection_of(request).entry


def client_of(request: web.BaseRequest) -> str:
    """Name whoever puts a request that was let in, to keep what it may have apart."""
    return connection_of(request).client


def unix_socket_of(request: web.Request) -> TransportSocket | None:
    """The socket that a request came by; None if that is TCP."""
    return connection_of(request).unix_socket


def log_failure(connection: Connection, error: BaseException) -> None:
    """Log what nobody foresaw: with its traceback, unless a stranger could have it written."""
    if connection.is_known:
        log.error("a request failed", exc_info=error)
    else:
        log.error("a request of somebody unknown failed: %s", type(error).__name__)


def connection_factory(
    server: web.Server, connections: Connections, bounds: Bounds
) -> Callable[[], Connection]:
    """Give what makes the protocol of each new connection."""

    def connect() -> Connection:
        return Connection(
            server,
            connections,
            bounds,
            access_log=None,
            auto_decompress=False,
            keepalive_timeout=bounds.idle_timeout,
            lingering_time=LINGERING_S,
            max_line_size=parsing.LONGEST_LINE,
            max_field_size=parsing.LONGEST_LINE,
            max_headers=parsing.MOST_HEADERS,
        )

    return connect
