"""Where the service listens: parsing, safe unix sockets, TCP sockets.

Only the standard library is used here, so that `farpeek health` starts fast.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import ipaddress
import os
import re
import socket
import stat
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator

BACKLOG = 1024
LOCK_S = 0.5
"""For others that make a socket in the same folder at the same moment."""

LONGEST_SOCKET_PATH = 107
"""Bytes that fit into sockaddr_un besides the closing zero; unix(7)."""

_PORT = re.compile(r"[0-9]{1,5}")
_NAME = re.compile(r"[A-Za-z0-9._-]+")


class ListenError(Exception):
    """It cannot listen there; ``str(error)`` is one line with the cure."""


@dataclass(frozen=True, slots=True)
class UnixAddress:
    """A unix socket by its path."""

    path: Path

    def __str__(self) -> str:
        return f"unix:{self.path}"

    @property
    def is_local(self) -> bool:
        """Whether only processes on this host can reach it."""
        return True


@dataclass(frozen=True, slots=True)
class TcpAddress:
    """A TCP host (a name, or an IP address without brackets) and a port; ``tls``: by HTTPS."""

    host: str
    port: int
    tls: bool = False

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}"

    @property
    def is_local(self) -> bool:
        """Whether only processes on this host can reach it."""
        return is_loopback(self.host)


Address = UnixAddress | TcpAddress


def _ip_address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address that ``host`` is, if it is one; RFC 4291's ``::ffff:127.0.0.1`` is 127.0.0.1.

    A listener for both families shows IPv4 addresses that way; ipv6(7).
    """
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def is_loopback(host: str) -> bool:
    """Whether ``host`` (no brackets, no port) can only mean this machine."""
    address = _ip_address(host)
    return host == "localhost" if address is None else address.is_loopback


def is_wildcard(host: str) -> bool:
    """Whether a listener on ``host`` takes connections to every address of this machine."""
    address = _ip_address(host)
    return address is not None and address.is_unspecified


def plain_host(host: str) -> str:
    """Write a host in the one way that can be compared."""
    host = host.lower().removesuffix(".")
    address = _ip_address(host.strip("[]"))
    return host if address is None else str(address)


def default_socket_path() -> Path:
    """Where the service listens, and its clients look, when nobody says otherwise."""
    if os.geteuid() == 0:
        return Path("/run/farpeek/farpeek.sock")
    runtime_dir = os.environ.get("XDG_RUNTIME_DIR")
    if runtime_dir:
        return Path(runtime_dir) / "farpeek" / "farpeek.sock"
    # The folder is made 0700, and refused if somebody else made it first.
    return Path(f"/tmp/farpeek-{os.geteuid()}/farpeek.sock")  # noqa: S108 - see above


def parse_address(url: str) -> Address:
    """Read ``unix:PATH``, ``http://HOST:PORT`` or ``https://HOST:PORT``.

    ``ValueError`` says what to write instead.
    """
    if url.startswith("unix:"):
        return _parse_unix(url.removeprefix("unix:"))
    for scheme in ("http", "https"):
        if url.startswith(f"{scheme}://"):
            return _parse_tcp(scheme, url.removeprefix(f"{scheme}://"))
    raise ValueError(
        f"{url!r} is no address to listen on: write unix:PATH, http://HOST:PORT or "
        "https://HOST:PORT"
    )


def _parse_unix(path: str) -> UnixAddress:
    path = path.removeprefix("//")  # unix:///run/x.sock is how some tools write it
    if not path.startswith("/") or path.endswith("/") or "\0" in path:
        raise ValueError(f"unix:{path} needs an absolute path, like unix:/run/farpeek/farpeek.sock")
    if len(os.fsencode(path)) > LONGEST_SOCKET_PATH:
        raise ValueError(f"unix:{path} is longer than {LONGEST_SOCKET_PATH} bytes: choose another")
    # A Path keeps two slashes at its beginning, and shown it would be another address.
    return UnixAddress(Path("/" + path.lstrip("/")))


def _parse_tcp(scheme: str, authority: str) -> TcpAddress:
    host, separator, port = authority.removesuffix("/").rpartition(":")
    if not separator or not _PORT.fullmatch(port) or int(port) > 65_535:  # noqa: PLR2004 - the highest port
        raise ValueError(f"{scheme}://{authority} needs a port, like {scheme}://127.0.0.1:7335")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        try:
            ipaddress.IPv6Address(host)
        except ValueError:
            raise ValueError(f"{scheme}://[{host}]:{port}: there is no such IPv6 address") from None
    elif not _NAME.fullmatch(host):
        raise ValueError(
            f"{scheme}://{authority} needs a host, like 127.0.0.1 or [::1]; 0.0.0.0 means all"
        )
    return TcpAddress(host.lower(), int(port), scheme == "https")


class Listener:
    """A socket that listens, and what has to go away with it."""

    def __init__(
        self, address: Address, sock: socket.socket, inode: tuple[int, int] | None
    ) -> None:
        self.address = address
        self.socket = sock
        self._inode = inode

    def __str__(self) -> str:
        return str(self.address)

    def close(self) -> None:
        """Stop listening; a unix socket's path goes too, if it is still the own one."""
        self.socket.close()
        if isinstance(self.address, UnixAddress) and self._inode is not None:
            remove_own(self.address.path, self._inode)


def inode_of(path: Path) -> tuple[int, int]:
    """Device and inode, which say whether a path is still the same file."""
    status = path.lstat()
    return status.st_dev, status.st_ino


def inode_of_open(descriptor: int) -> tuple[int, int]:
    """Say the same of an open file."""
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino


def remove_own(path: Path, inode: tuple[int, int]) -> None:
    """Remove ``path`` unless somebody has put another file there meanwhile."""
    with contextlib.suppress(OSError):
        if inode_of(path) == inode:
            path.unlink()


def listen_unix(address: UnixAddress, mode: int = 0o600, group: int | None = None) -> Listener:
    """Listen on a unix socket that has ``mode`` and ``group`` before anybody can connect."""
    ready_folder(address.path.parent, group)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _one_at_a_time(address.path.parent):
            _clear_way(address.path)
            _bind(sock, address.path, mode)
            inode = inode_of(address.path)
            # Nobody can connect before listen(), so the group comes in time.
            if group is not None:
                _give(address.path, group)
            sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        raise ListenError(f"cannot listen on {address}: {error.strerror}") from error
    except ListenError:
        sock.close()
        raise
    sock.settimeout(0)
    return Listener(address, sock, inode)


def _bind(sock: socket.socket, path: Path, mode: int) -> None:
    # By umask, for a chmod after bind() leaves a moment in which others get in.
    before = os.umask(0o777 & ~mode)
    try:
        sock.bind(str(path))
    finally:
        os.umask(before)


def ready_folder(folder: Path, group: int | None = None) -> None:
    """Make ``folder`` (only the last level), or check that nobody else can act in it."""
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        _check_folder(folder, group)
    except OSError as error:
        raise ListenError(
            f"cannot make the folder {folder}: {error.strerror}; make it, or choose another path"
        ) from error
    else:
        if group is not None:
            _open_to(folder, group)


def _open_to(folder: Path, group: int) -> None:
    """Let a group pass through a new folder; one that cannot be given to it is not left there."""
    try:
        _give(folder, group)
    except ListenError:
        folder.rmdir()
        raise
    folder.chmod(0o710)


def _give(path: Path, group: int) -> None:
    try:
        os.chown(path, -1, group, follow_symlinks=False)
    except OSError as error:
        raise ListenError(
            f"cannot give {path} to the group {group}: {error.strerror}; run the service as a "
            "member of it (supplementalGroups, --group-add, SupplementaryGroups=)"
        ) from error


def _check_folder(folder: Path, group: int | None) -> None:
    ours = {0, os.geteuid()}
    try:
        link, status = folder.lstat(), folder.stat()
    except OSError as error:
        raise ListenError(f"cannot use the folder {folder}: {error.strerror}") from error
    if not stat.S_ISDIR(status.st_mode):
        raise ListenError(f"{folder} is no folder: choose another path")
    # Who owns the folder, or a link to it, decides whose socket clients will find there.
    if link.st_uid not in ours or status.st_uid not in ours:
        raise ListenError(f"{folder} belongs to somebody else: choose a path in a folder of yours")
    if status.st_mode & 0o022 and not status.st_mode & stat.S_ISVTX:
        raise ListenError(
            f"others can write in {folder}: chmod go-w it, or choose a folder below it that "
            "farpeek can make itself"
        )
    # A folder that was there is left as it is, and nobody should have to guess who is shut out.
    passing = 0o010 if status.st_gid == group else 0o001
    if group is not None and not status.st_mode & passing:
        raise ListenError(
            f"the group {group} cannot pass through {folder}: chgrp it and chmod g+x it, or let "
            "farpeek make the folder"
        )


@contextlib.contextmanager
def _one_at_a_time(folder: Path) -> Generator[None]:
    """Keep a second server from taking a socket for stale between its bind and its listen."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _lock_soon(descriptor)
        yield
    finally:
        os.close(descriptor)


def _lock_soon(descriptor: int) -> None:
    """Wait for the lock of a folder, but not for long: whoever can read it can hold it for ever.

    Another server at its start has it for less than a millisecond.
    """
    give_up = time.monotonic() + LOCK_S
    while time.monotonic() < give_up:
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        time.sleep(0.01)


def _clear_way(path: Path) -> None:
    """Remove a stale socket; refuse what is no socket, or where a living server answers."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(status.st_mode):
        raise ListenError(f"{path} exists and is no socket: remove it, or choose another path")
    if _somebody_answers(path):
        raise ListenError(f"another server is listening on {path}: stop it, or choose another path")
    remove_own(path, (status.st_dev, status.st_ino))


def _somebody_answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(0)
        result = probe.connect_ex(str(path))
    # EAGAIN: its queue is full, so it lives. EACCES cannot be told, so it is left alone.
    return result not in (errno.ECONNREFUSED, errno.ENOENT)


def listen_tcp(address: TcpAddress) -> list[Listener]:
    """Listen on every address of the host's name; port 0 becomes a real one, equal for all."""
    try:
        found = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except OSError as error:
        raise ListenError(f"cannot listen on {address}: {error.strerror}") from error
    listeners: list[Listener] = []
    refused: OSError | None = None
    port = address.port
    for family, _, _, _, place in dict.fromkeys(found):
        try:
            sock = _tcp_socket(family, (place[0], port, *place[2:]))
        except OSError as error:
            refused = error
            # A name may have an address of a family that this host does not use.
            if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                continue
            break
        port = sock.getsockname()[1]
        listeners.append(Listener(TcpAddress(address.host, port, address.tls), sock, None))
    else:
        if listeners:
            return listeners
    for listener in listeners:
        listener.close()
    reason = refused.strerror if refused else "the name has no address"
    raise ListenError(f"cannot listen on {address}: {reason}")


def _tcp_socket(family: int, place: tuple[object, ...]) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.settimeout(0)
        sock.bind(place)
        sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock
