"""What is opened at the start: sockets that listen, and who gets in by them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from farpeek_api.gate import tickets
from farpeek_api.gate.auth import Authenticator
from farpeek_api.gate.tokens import OwnTokenFile, Tokens, read_tokens
from farpeek_api.serving import activation
from farpeek_api.serving.listeners import (
    ListenError,
    UnixAddress,
    default_socket_path,
    listen_tcp,
    listen_unix,
)
from farpeek_api.serving.logs import log

if TYPE_CHECKING:
    import re
    from contextlib import ExitStack
    from pathlib import Path

    from farpeek_api.policy.current import CurrentPolicy
    from farpeek_api.serving.listeners import Address, Listener
    from farpeek_api.serving.settings import Settings


def listen(settings: Settings, cleanup: ExitStack) -> list[Listener]:
    """Open what is to be listened on. Raises ListenError."""
    listeners = _handed_over(settings, cleanup)
    # Sockets that were handed over take the place of the default, not of what was asked for.
    if listeners and not settings.names_listeners:
        return listeners
    for address in settings.addresses:
        if isinstance(address, UnixAddress):
            new = [listen_unix(address, settings.unix_mode, settings.unix_group)]
        else:
            new = listen_tcp(address)
        for listener in new:
            cleanup.callback(listener.close)
        listeners += new
    return listeners


def _handed_over(settings: Settings, cleanup: ExitStack) -> list[Listener]:
    listeners = activation.take()
    for listener in listeners:
        cleanup.callback(listener.close)
        try:
            settings.check_reach(listener.address)
        except ValueError as error:
            raise ListenError(f"a socket of the supervisor's: {error}") from error
    return listeners


def authenticator(
    settings: Settings,
    listeners: list[Listener],
    current: CurrentPolicy,
    cleanup: ExitStack,
    streams: re.Pattern[str] = tickets.STREAMS,
) -> Authenticator:
    """Make what lets requests in; tickets are for ``streams``. Raises TokenError."""
    addresses = [listener.address for listener in listeners]
    asks_for_token = not all(isinstance(address, UnixAddress) for address in addresses)
    tokens: Tokens | None = None
    if settings.policy is not None:
        return Authenticator(addresses, settings.allow_host, None, current=current, streams=streams)
    if settings.token_file is not None:
        tokens = read_tokens(settings.token_file)
    elif asks_for_token and not settings.no_auth:
        own = OwnTokenFile(_token_path(addresses))
        cleanup.callback(own.close)
        tokens = own.tokens
        log.info("the token for TCP is in %s", own.path)
    return Authenticator(
        addresses, settings.allow_host, tokens, everybody=settings.no_auth, streams=streams
    )


def _token_path(addresses: list[Address]) -> Path:
    """Where a token made at start goes: beside the (first) socket."""
    sockets = [each.path for each in addresses if isinstance(each, UnixAddress)]
    return (sockets or [default_socket_path()])[0].with_name("token")
