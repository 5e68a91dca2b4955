"""What TLS takes of a bulk read: the same range from one service, with it and without."""

from __future__ import annotations

import ssl
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import trustme

from bench import processes, wire
from bench.cases.bulk import digest
from bench.framework import Case, Comparison, Prepared
from bench.processes import PAGE
from bench.sides import RATE, draining

if TYPE_CHECKING:
    from collections.abc import Iterator

_SIZE = 256 << 20
_TLS, _PLAIN = "TLS", "plain TCP"


@contextmanager
def _prepare() -> Iterator[Prepared]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="farpeek-bench-")))
        context = _certify(folder)
        target = stack.enter_context(processes.target(_SIZE // PAGE))
        plain = stack.enter_context(processes.service_on_tcp())
        secured = stack.enter_context(
            processes.service_on_tcp(
                "https", "--tls-cert", folder / "cert.pem", "--tls-key", folder / "key.pem"
            )
        )
        links = {
            _TLS: stack.enter_context(wire.Connection(secured.tcp, context)),
            _PLAIN: stack.enter_context(wire.Connection(plain.tcp)),
        }
        sides, digests = {}, set[bytes]()
        for name, server in ((_TLS, secured), (_PLAIN, plain)):
            with server.connect() as local:
                target_id = local.register(target.pid)
            message = wire.ranged(target_id, target.numbers["block"], _SIZE, server.authorization)
            digests.add(digest(links[name], message))
            sides[name] = draining(links[name], message)
        assert len(digests) == 1  # noqa: S101
        yield Prepared(sides, [Comparison(RATE, "MB/s", _TLS, _PLAIN, at_least=0.5)])


def _certify(folder: Path) -> ssl.SSLContext:
    """Make a certificate for 127.0.0.1; what trusts it."""
    authority = trustme.CA()
    made = authority.issue_cert("127.0.0.1")
    made.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    made.private_key_pem.write_to_path(folder / "key.pem")
    (folder / "key.pem").chmod(0o600)
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


CASE = Case(
    "tls",
    "one range of 256 MiB by TCP, the client deciphering it and throwing it away, with TLS and "
    "without",
    _prepare,
)
