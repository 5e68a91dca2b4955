"""HTTP to a farpeek on this host, with the standard library alone: for probes and the demo."""

from __future__ import annotations

import http.client
import socket
import ssl
from typing import TYPE_CHECKING

from farpeek_api.serving.listeners import UnixAddress, is_wildcard

if TYPE_CHECKING:
    from farpeek_api.serving.listeners import Address


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def connect(address: Address, timeout_s: float) -> http.client.HTTPConnection:
    """Give a connection to a listener; each of its waits lasts at most ``timeout_s``."""
    if isinstance(address, UnixAddress):
        return _UnixConnection(str(address.path), timeout_s)
    host = address.host
    if is_wildcard(host):  # to listen on all addresses is no place to call
        host = "::1" if ":" in host else "127.0.0.1"
    if address.tls:
        # It is asked whether it is ready, on this host, and is sent nothing secret.
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return http.client.HTTPSConnection(host, address.port, timeout=timeout_s, context=context)
    return http.client.HTTPConnection(host, address.port, timeout=timeout_s)
