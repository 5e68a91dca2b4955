"""A service by HTTPS, with certificates of the tests' own."""

from __future__ import annotations

import socket
import ssl
from contextlib import contextmanager
from typing import TYPE_CHECKING

import trustme

from farpeek_api.serving.tls import TlsFiles
from support.wire import Served

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CA = trustme.CA()


class Files:
    """A certificate for 127.0.0.1 and its key, as files."""

    def __init__(self, folder: Path, ca: trustme.CA = CA, **options: object) -> None:
        self.cert, self.key, self.client_ca = (
            folder / "tls.crt",
            folder / "tls.key",
            folder / "ca.crt",
        )
        self.write(ca.issue_cert("127.0.0.1", "localhost", **options))  # type: ignore[arg-type]
        CA.cert_pem.write_to_path(str(self.client_ca))

    def write(self, made: trustme.LeafCert) -> None:
        self.cert.write_bytes(b"".join(blob.bytes() for blob in made.cert_chain_pems))
        self.key.write_bytes(made.private_key_pem.bytes())
        self.key.chmod(0o600)

    @property
    def flags(self) -> tuple[str, ...]:
        return "--tls-cert", str(self.cert), "--tls-key", str(self.key)

    def files(self) -> TlsFiles:
        return TlsFiles(self.cert, self.key)


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@contextmanager
def serving(folder: Path, files: Files, *flags: str) -> Iterator[tuple[Served, int]]:
    port = _free_port()
    listen = ("--listen", f"https://127.0.0.1:{port}")
    with Served(folder, *listen, *files.flags, *flags) as served:
        yield served, port


def trusting(ca: trustme.CA = CA, client: trustme.LeafCert | None = None) -> ssl.SSLContext:
    made = ssl.create_default_context()
    ca.configure_trust(made)
    if client is not None:
        client.configure_cert(made)
    return made
