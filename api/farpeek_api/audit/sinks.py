"""Where lines go: a file that is gone on with, or stderr. Nothing here knows what is in them."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
from typing import TYPE_CHECKING, Final, NamedTuple, NoReturn, Protocol

from farpeek_api.audit import chain

if TYPE_CHECKING:
    from pathlib import Path

    from farpeek_api.audit.chain import Link

_LONGEST_TAIL: Final = 1 << 20
"""Bytes of a file's end among which its last line is looked for; a line has 30 KiB at most."""

_LOCK_S: Final = 7.0
"""For a service that is stopping to let go of the file: somewhat longer than it may take."""

_LOOK_S: Final = 0.05
_BEGINNING: Final = b'{"time":"'
_OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH


class AuditError(Exception):
    """There can be no audit; the message has the cure."""


class Tail(NamedTuple):
    """How a file ends."""

    last: Link | None  # the last that is a line; None if there is none
    hash: str  # of whatever stands last, which a next line goes on from
    is_cut: bool  # that is no line
    lacks_newline: bool


NEW: Final = Tail(None, chain.NOTHING, is_cut=False, lacks_newline=False)


class Sink(Protocol):
    """Takes lines."""

    goes_on: bool
    """Whether a next service goes on where one ends, so that starts and stops are told of."""
    most_together: int
    """Lines that may be written by one call."""

    def tail(self) -> Tail:
        """How it ends now. Raises AuditError."""
        ...

    def write(self, data: bytes) -> int:
        """Append, and say how much of it. Raises OSError."""
        ...

    def has_moved(self) -> bool:
        """Whether what is written does not get where it should any more."""
        ...

    def reopen(self) -> None:
        """Go on at the place that was named at first. Raises AuditError."""
        ...

    def close(self) -> None:
        """Write no more."""
        ...


class Stderr:
    """The service's stderr, beside its log."""

    goes_on = False
    most_together = 1  # up to PIPE_BUF bytes, no line of the log gets in between

    def tail(self) -> Tail:
        """See ``Sink``."""
        return NEW

    def write(self, data: bytes) -> int:
        """See ``Sink``."""
        return os.write(2, data)

    def has_moved(self) -> bool:
        """See ``Sink``."""
        return False

    def reopen(self) -> None:
        """See ``Sink``."""

    def close(self) -> None:
        """See ``Sink``."""


class File:
    """A file of the service's own, to which nothing but lines is appended."""

    goes_on = True
    most_together = 256

    def __init__(self, path: Path) -> None:
        """Raises AuditError."""
        self._path = path
        self._descriptor = _open(path, _LOCK_S)
        self._identity = _identity(os.fstat(self._descriptor))

    def tail(self) -> Tail:
        """See ``Sink``."""
        size = os.fstat(self._descriptor).st_size
        start = max(0, size - _LONGEST_TAIL)
        return _tail(os.pread(self._descriptor, size - start, start), self._path)

    def write(self, data: bytes) -> int:
        """See ``Sink``."""
        return os.write(self._descriptor, data)

    def has_moved(self) -> bool:
        """See ``Sink``."""
        try:
            return _identity(os.lstat(self._path)) != self._identity
        except FileNotFoundError:
            return True
        except OSError:  # nothing that opening it again would help against
            return False

    def reopen(self) -> None:
        """See ``Sink``. Where it fails, it goes on with the file that it has."""
        if not self.has_moved():  # it would be locked, by this very service
            return
        descriptor = _open(self._path, 0.0)
        os.close(self._descriptor)
        self._descriptor = descriptor
        self._identity = _identity(os.fstat(descriptor))

    def close(self) -> None:
        """See ``Sink``."""
        os.close(self._descriptor)


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino


def _open(path: Path, lock_s: float) -> int:
    try:
        _check_kind(path)
        # Not through a symbolic link, and without a wait for whoever reads a fifo.
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        descriptor = os.open(path, flags, 0o600)
    except OSError as error:
        _refuse(path, error)
    try:
        _check_owner(path, os.fstat(descriptor))
        _lock(path, descriptor, lock_s)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _check_kind(path: Path) -> None:
    """Refuse what is there and no file, before it is opened: opening a device does things."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    for is_one, what in (
        (stat.S_ISLNK, "a symbolic link"),
        (stat.S_ISDIR, "a folder"),
        (stat.S_ISFIFO, "a fifo"),
        (stat.S_ISSOCK, "a socket"),
        (stat.S_ISCHR, "a device"),
        (stat.S_ISBLK, "a device"),
    ):
        if is_one(found.st_mode):
            raise AuditError(
                f"--audit: {path} is {what}: name a file, or `stderr`, or `none` for no audit"
            )
    _check_user(path, found)


def _check_user(path: Path, found: os.stat_result) -> None:
    if found.st_uid != os.geteuid():
        raise AuditError(
            f"--audit: {path} belongs to user {found.st_uid}, who could rewrite it, and not to the "
            f"service's, {os.geteuid()}: chown it, or name another file"
        )


def _check_owner(path: Path, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise AuditError(f"--audit: {path} is no file any more: name another one")
    _check_user(path, found)
    if found.st_mode & _OTHERS_WRITE:
        raise AuditError(f"--audit: others may write to {path}: chmod go-w it")
    folder = path.absolute().parent.stat()
    if folder.st_mode & stat.S_IWOTH and not folder.st_mode & stat.S_ISVTX:
        raise AuditError(
            f"--audit: anybody may put another file in the place of {path}: chmod o-w its folder"
        )


def _lock(path: Path, descriptor: int, most_s: float) -> None:
    give_up = time.monotonic() + most_s
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= give_up:
                raise AuditError(
                    f"--audit: another service writes to {path}: name a file for each"
                ) from None
            time.sleep(_LOOK_S)
        except OSError as error:
            _refuse(path, error)
        else:
            return


def _refuse(path: Path, error: OSError) -> NoReturn:
    cures = {
        errno.ENOENT: "its folder is not there: make it",
        errno.ENOTDIR: "its folder is none: name another file",
        errno.EACCES: f"user {os.geteuid()} may not write there: chown its folder, or the file",
        errno.EPERM: f"user {os.geteuid()} may not write there: chown its folder, or the file",
        errno.EROFS: "the file system is read-only: name a file on another",
        errno.ENOSPC: "the disk is full: make room",
        errno.EDQUOT: "the quota is used up: make room",
        errno.ELOOP: "it is a symbolic link: name a file",
    }
    cure = cures.get(error.errno or 0, error.strerror)
    raise AuditError(f"--audit: {path} cannot be opened: {cure}") from error


def _tail(end: bytes, path: Path) -> Tail:
    """Tell how a file ends, by its last bytes."""
    if not end:
        return NEW
    lacks_newline = not end.endswith(b"\n")
    lines = end.split(b"\n") if lacks_newline else end[:-1].split(b"\n")
    last_hash = chain.digest(lines[-1])
    for line in reversed(lines):
        found = chain.parse(line)
        if found is not None:
            last = chain.Link(found.seq, chain.digest(line))
            return Tail(last, last_hash, last.hash != last_hash, lacks_newline)
    if len(lines) == 1 and _BEGINNING[: len(lines[0])] == lines[0][: len(_BEGINNING)]:
        return Tail(None, last_hash, is_cut=True, lacks_newline=lacks_newline)  # the first of all
    raise AuditError(
        f"--audit: {path} holds something else than an audit: move it away, or name another"
    )
