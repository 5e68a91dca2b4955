"""Tokens of a policy's clients: 32 random bytes, known for what they are by how they look."""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
import zlib
from typing import Final

PREFIX: Final = "fp_"
"""By which scanners for leaked secrets find them."""

_BYTES: Final = 32
_KIND: Final = re.compile(r"fp_([A-Za-z0-9_-]{43})([A-Za-z0-9_-]{6})")


def make() -> str:
    """Make one; nobody keeps it but whoever is shown it."""
    random = secrets.token_urlsafe(_BYTES)
    return f"{PREFIX}{random}{_checksum(random)}"


def is_broken(token: str) -> bool:
    """Whether it was one once, and has been cut or mistyped since; False for other kinds."""
    if not token.startswith(PREFIX):
        return False
    found = _KIND.fullmatch(token)
    return found is None or found[2] != _checksum(found[1])


def digest(token: str) -> str:
    """What a policy has of it."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def _checksum(random: str) -> str:
    value = zlib.crc32(random.encode("ascii")).to_bytes(4, "big")
    return base64.urlsafe_b64encode(value).decode().rstrip("=")
