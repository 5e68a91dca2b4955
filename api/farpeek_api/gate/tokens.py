"""Bearer tokens: files that only we may read, and one that the service makes itself."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import hmac
import os
import re
import secrets
import stat
from typing import TYPE_CHECKING

from farpeek_api.serving.listeners import inode_of, inode_of_open, ready_folder, remove_own

if TYPE_CHECKING:
    from pathlib import Path

LARGEST_FILE = 1 << 20

# RFC 6750, section 2.1.
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")


class TokenError(Exception):
    """A token file cannot be used; ``str(error)`` is one line with the cure, without tokens."""


class Tokens:
    """The tokens that let somebody in, kept as digests only."""

    def __init__(self, tokens: list[str]) -> None:
        self._digests = [_digest(token) for token in tokens]

    def __contains__(self, token: str) -> bool:
        return self.number_of(token) is not None

    def number_of(self, token: str) -> int | None:
        """Which one it is, from 1 on, in the order of the file; None if it is none of them."""
        presented = _digest(token)
        found: int | None = None
        # No early end: the time must tell neither which token it was nor how far it was right.
        for number, digest in enumerate(self._digests, 1):
            if hmac.compare_digest(digest, presented):
                found = number
        return found


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def read_tokens(path: Path) -> Tokens:
    """Read one token per line; ``TokenError`` where others may read or change the file too."""
    try:
        # Not blocking, for a fifo would otherwise wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise TokenError(f"cannot read the token file {path}: {error.strerror}") from error
    try:
        _check_private(path, os.fstat(descriptor))
        content = os.read(descriptor, LARGEST_FILE + 1)
    finally:
        os.close(descriptor)
    if len(content) > LARGEST_FILE:
        raise TokenError(f"{path} is over 1 MiB: that is no token file")
    tokens = list(_lines(path, content))
    if not tokens:
        raise TokenError(f"{path} holds no token: write one per line, like `openssl rand -hex 32`")
    return Tokens(tokens)


def _lines(path: Path, content: bytes) -> list[str]:
    tokens: list[str] = []
    for number, line in enumerate(content.decode("ascii", "replace").splitlines(), 1):
        token = line.strip()
        if not token or token.startswith("#"):
            continue
        if not _TOKEN.fullmatch(token):
            raise TokenError(
                f"{path}, line {number}: a token consists of letters, digits and -._~+/ only"
            )
        tokens.append(token)
    return tokens


def _check_private(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise TokenError(f"{path} is no regular file")
    if status.st_uid not in (0, os.geteuid()):
        raise TokenError(f"{path} belongs to somebody else: chown it")
    if status.st_mode & 0o006:
        raise TokenError(f"others can read or write {path}: chmod 0600 it")
    # Kubernetes mounts a Secret with fsGroup as 0440 root:fsGroup.
    as_secret = (
        status.st_uid == 0
        and not status.st_mode & 0o020
        and status.st_gid in {os.getegid(), *os.getgroups()}
    )
    if status.st_mode & 0o060 and not as_secret:
        raise TokenError(f"a group can read or write {path}: chmod 0600 it")


_MARK = "farpeek-"
"""Begins the tokens that are made at start, so that a file left behind is known for ours."""

_OWN_KIND = re.compile(rb"farpeek-[A-Za-z0-9_-]{43}\n")


def _is_own_kind(descriptor: int) -> bool:
    """Whether it is a file as `OwnTokenFile` makes it, and nobody else's."""
    status = os.fstat(descriptor)
    plain = stat.S_ISREG(status.st_mode) and status.st_nlink == 1
    if not plain or status.st_uid != os.geteuid():
        return False
    return _OWN_KIND.fullmatch(os.read(descriptor, 100)) is not None


class OwnTokenFile:
    """A token made at start, in a file that lives as long as the service."""

    def __init__(self, path: Path) -> None:
        self.path = path
        ready_folder(path.parent)
        token = _MARK + secrets.token_urlsafe(32)
        try:
            self._descriptor = self._create(token)
        except OSError as error:
            raise TokenError(f"cannot write the token file {path}: {error.strerror}") from error
        self._inode = inode_of(path)
        self.tokens = Tokens([token])
        """What it lets in. The token itself is kept nowhere but in the file."""

    def _create(self, token: str) -> int:
        self._clear_way()
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(self.path, flags, 0o600)
        # The lock tells a file in use from one that a killed service left behind.
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        os.write(descriptor, token.encode() + b"\n")
        return descriptor

    def _clear_way(self) -> None:
        try:
            descriptor = os.open(
                self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
            )
        except FileNotFoundError:
            return
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not _is_own_kind(descriptor):
                raise TokenError(
                    f"{self.path} is there, and is no token that a farpeek has made at its start: "
                    "move it away, or name a file of yours with --token-file"
                )
            remove_own(self.path, inode_of_open(descriptor))
        except BlockingIOError:
            raise TokenError(
                f"{self.path} belongs to another farpeek: name one with --token-file"
            ) from None
        finally:
            os.close(descriptor)

    def close(self) -> None:
        """Remove the file, if it is still the own one."""
        remove_own(self.path, self._inode)
        with contextlib.suppress(OSError):
            os.close(self._descriptor)
