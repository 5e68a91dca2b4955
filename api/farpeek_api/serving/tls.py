"""TLS: the certificate and the key of the service, checked before anybody meets them."""

from __future__ import annotations

import re
import ssl
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_PEM: Final = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)
_LARGEST: Final = 1 << 20  # bytes of a file
_FLIGHTS: Final = 8  # of a handshake; TLS 1.3 takes three

# RFC 4514, section 3, and RFC 4519 for those that people use besides.
_SHORT: Final = {
    "commonName": "CN",
    "countryName": "C",
    "domainComponent": "DC",
    "emailAddress": "emailAddress",
    "localityName": "L",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "serialNumber": "serialNumber",
    "stateOrProvinceName": "ST",
    "streetAddress": "STREET",
    "userId": "UID",
}


class TlsError(Exception):
    """TLS cannot be had with these files; ``str(error)`` is one line with the cure."""


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Where they are; with ``client_ca`` a client's certificate of that CA is a credential."""

    cert: Path
    key: Path
    client_ca: Path | None = None

    @property
    def paths(self) -> tuple[Path, ...]:
        """All of them."""
        return (self.cert, self.key, *(() if self.client_ca is None else (self.client_ca,)))


@dataclass(frozen=True, slots=True)
class Certificate:
    """Who a client is, by a certificate that was verified.

    ``subject`` is as RFC 4514 writes it, ``CN=profiler,O=acme``; ``names`` are those of its
    subjectAltName, whatever their kind.
    """

    subject: str
    names: tuple[str, ...]


def context(files: TlsFiles) -> ssl.SSLContext:
    """Make what listeners are opened with: TLS 1.2 and later, by the library's own choices.

    Raises TlsError: a file cannot be read, others can read the key, certificate and key do not fit,
    the certificate is not valid now.
    """
    _check_key(files.key)
    leaf = _leaf(files.cert)
    made = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    made.set_alpn_protocols(["http/1.1"])
    try:
        made.load_cert_chain(files.cert, files.key, password=_refuse_passphrase)
    except ssl.SSLError as error:
        raise TlsError(_why_not(files, error)) from error
    except OSError as error:
        raise TlsError(f"cannot read {files.cert}: {error.strerror}") from error
    _check_now(made, files.cert, leaf)
    if files.client_ca is not None:
        _trust(made, files.client_ca)
    return made


def _refuse_passphrase() -> str:
    raise TlsError("the key asks for a passphrase: give one without (openssl pkey -in KEY)")


def _why_not(files: TlsFiles, error: ssl.SSLError) -> str:
    if error.reason == "KEY_VALUES_MISMATCH":
        return f"{files.key} is not the key of {files.cert}: give those that belong together"
    reason = (error.reason or "it is no PEM").replace("_", " ").lower()
    return f"{files.cert} and {files.key} cannot be used ({reason}): give a certificate and its key"


def _check_key(key: Path) -> None:
    try:
        mode = key.stat().st_mode
    except OSError as error:
        raise TlsError(f"cannot read {key}: {error.strerror}") from error
    if mode & stat.S_IROTH:
        raise TlsError(f"others can read the key {key}: chmod o-r it")


def _leaf(cert: Path) -> str:
    try:
        with cert.open() as file:
            found = _PEM.search(file.read(_LARGEST))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no PEM"
        raise TlsError(f"cannot read {cert}: {reason}") from error
    if found is None:
        raise TlsError(f"{cert} has no certificate in PEM")
    return found[0]


def _trust(made: ssl.SSLContext, client_ca: Path) -> None:
    try:
        made.load_verify_locations(client_ca)
    except ssl.SSLError as error:
        raise TlsError(f"{client_ca} has no certificate of a CA in PEM") from error
    except OSError as error:
        raise TlsError(f"cannot read {client_ca}: {error.strerror}") from error
    # Whoever has none may have a token.
    made.verify_mode = ssl.CERT_OPTIONAL


def _check_now(made: ssl.SSLContext, cert: Path, leaf: str) -> None:
    """Have a client that trusts this certificate alone shake hands with it, in memory.

    The library tells the dates of a certificate only of one that it has verified.
    """
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname = False
    trusting.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    trusting.load_verify_locations(cadata=leaf)
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = trusting.wrap_bio(back, there), made.wrap_bio(there, back, server_side=True)
    try:
        for _ in range(_FLIGHTS):
            ours, theirs = map(_is_done, sides)
            if ours and theirs:
                return
    except ssl.SSLCertVerificationError as error:
        raise TlsError(f"{cert}: {error.verify_message}: give one that is valid now") from error
    except ssl.SSLError as error:
        raise TlsError(f"{cert} cannot be used: {error.reason}") from error
    raise TlsError(f"{cert} cannot be used: a handshake with it does not end")


def _is_done(side: ssl.SSLObject) -> bool:
    """Whether the handshake is over on this side."""
    try:
        side.do_handshake()
    except ssl.SSLWantReadError:
        return False
    return True


def certificate(peer: Mapping[str, object] | None) -> Certificate | None:
    """Take what `SSLObject.getpeercert` gives; None where nothing was verified."""
    if not peer:
        return None
    parts = [
        f"{_SHORT.get(str(kind), str(kind))}={_escaped(str(value))}"
        for relative in _tuples(peer.get("subject"))
        for kind, value in _tuples(relative)
    ]
    names = tuple(str(value) for _, value in _tuples(peer.get("subjectAltName")))
    return Certificate(",".join(reversed(parts)), names)


def _tuples(value: object) -> tuple[tuple[object, ...], ...]:
    return cast("tuple[tuple[object, ...], ...]", value) if isinstance(value, tuple) else ()


def _escaped(text: str) -> str:
    """Write a value of a name as RFC 4514, section 2.4 does."""
    text = re.sub(r'([\\",+;<>])', r"\\\1", text).replace("\0", r"\00")
    if text.startswith(("#", " ")):
        text = "\\" + text
    return text[:-1] + "\\ " if text.endswith(" ") and len(text) > 1 else text
