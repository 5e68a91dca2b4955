"""Accounts of a broker by JWT, as `nsc` makes them: an operator, an account, roles, users.

The format is NATS's own (nats-io/jwt, version 2): claims as JSON, signed by an nkey.
"""

from __future__ import annotations

import base64
import json
import os
import time
from typing import TYPE_CHECKING, Any, Final

import nkeys

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_UNBOUNDED: Final = -1


class Key:
    """An nkey."""

    def __init__(self, prefix: int) -> None:
        self.seed = bytes(nkeys.encode_seed(os.urandom(32), prefix))
        self._pair = nkeys.from_seed(bytearray(self.seed))
        self.public = bytes(self._pair.public_key).decode()

    def sign(self, subject: str, name: str, claims: Mapping[str, Any]) -> str:
        """Write a JWT of somebody."""
        said = {
            "jti": base64.b32encode(os.urandom(32)).decode().rstrip("="),
            "iat": int(time.time()),
            "iss": self.public,
            "name": name,
            "sub": subject,
            "nats": {**claims, "version": 2},
        }
        head = {"typ": "JWT", "alg": "ed25519-nkey"}
        text = ".".join(_encoded(json.dumps(each).encode()) for each in (head, said))
        return f"{text}.{_encoded(bytes(self._pair.sign(text.encode())))}"


def _encoded(text: bytes) -> str:
    return base64.urlsafe_b64encode(text).decode().rstrip("=")


class Account:
    """One account, whose users have the permissions of a role: `nsc edit signing-key --role`."""

    def __init__(self, roles: Mapping[str, Mapping[str, Sequence[str]]]) -> None:
        self._operator = Key(nkeys.PREFIX_BYTE_OPERATOR)
        self._account = Key(nkeys.PREFIX_BYTE_ACCOUNT)
        self._signing = {role: Key(nkeys.PREFIX_BYTE_ACCOUNT) for role in roles}
        scopes = [
            {
                "kind": "user_scope",
                "key": self._signing[role].public,
                "role": role,
                "template": {
                    "pub": {"allow": list(each["publish"])},
                    "sub": {"allow": list(each["subscribe"])},
                    **dict.fromkeys(("subs", "data", "payload"), _UNBOUNDED),
                },
            }
            for role, each in roles.items()
        ]
        unbounded = ("subs", "data", "payload", "imports", "exports", "conn", "leaf")
        kept = ("mem_storage", "disk_storage", "streams", "consumer")
        system = Key(nkeys.PREFIX_BYTE_ACCOUNT)
        limits = {**dict.fromkeys((*unbounded, *kept), _UNBOUNDED), "wildcards": True}
        claims = {"limits": limits, "signing_keys": scopes, "type": "account"}
        self._jwts = {
            self._account.public: self._operator.sign(self._account.public, "fleet", claims),
            system.public: self._operator.sign(system.public, "SYS", {"type": "account"}),
        }
        self._system = system.public

    def configuration(self) -> str:
        """Write what the broker's configuration says of it."""
        operator = self._operator.sign(self._operator.public, "fleet", {"type": "operator"})
        preload = "\n".join(f"{name}: {text}" for name, text in self._jwts.items())
        return (
            f"operator: {operator}\nsystem_account: {self._system}\nresolver: MEMORY\n"
            f"resolver_preload: {{\n{preload}\n}}\n"
        )

    def credentials(self, folder: Path, role: str, name: str, *tags: str) -> Path:
        """Make a user of a role; the file that a client or an agent has."""
        user = Key(nkeys.PREFIX_BYTE_USER)
        claims = {"issuer_account": self._account.public, "type": "user", "tags": list(tags)}
        token = self._signing[role].sign(user.public, name, {"pub": {}, "sub": {}, **claims})
        path = folder / f"{name}.creds"
        path.touch(mode=0o600)
        path.write_text(
            f"-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n"
            f"-----BEGIN USER NKEY SEED-----\n{user.seed.decode()}\n"
            "------END USER NKEY SEED------\n"
        )
        return path
