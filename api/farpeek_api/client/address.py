"""Where the service is, and the token for it."""

from __future__ import annotations

import ipaddress
import os
import socket
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlsplit

from farpeek_api.client.problems import Unreachable

if TYPE_CHECKING:
    from farpeek_api.client.links import Link, Thread

PORT: Final = 7335
_LARGEST_TOKEN_FILE: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Node:
    """A node of a fleet: the brokers by which it is reached, and in whose name."""

    name: str
    client: str
    servers: tuple[str, ...]
    nkey: str | os.PathLike[str] | None = None
    credentials: str | os.PathLike[str] | None = None
    link: Link | None = field(default=None, repr=False)
    """The connection, where it is another's as well; and the thread that has it."""
    thread: Thread | None = field(default=None, repr=False)

    @property
    def shown(self) -> str:
        """How a person writes it, without the passwords that a broker's address may have."""
        brokers = ",".join(each.rpartition("@")[2] for each in self.servers)
        return f"node {self.name} by {brokers}"

    @classmethod
    def find(
        cls,
        name: str,
        servers: str | None = None,
        client: str | None = None,
        nkey: str | os.PathLike[str] | None = None,
        credentials: str | os.PathLike[str] | None = None,
    ) -> Node:
        """Find the way: what is not given is in the environment. ValueError if it is nowhere."""
        servers = servers or os.environ.get("FARPEEK_NATS", "")
        client = client or os.environ.get("FARPEEK_CLIENT", "")
        if not servers:
            raise ValueError("a node is reached by a broker: give `nats`, or set FARPEEK_NATS")
        if not client:
            raise ValueError(
                "a node is asked in a client's name: give `client`, or set FARPEEK_CLIENT"
            )
        nkey = nkey or os.environ.get("FARPEEK_NKEY") or None
        return cls(name, client, tuple(servers.split(",")), nkey, credentials)

    def new_link(self) -> Link:
        """Make a connection to the broker. ImportError without nats-py."""
        from farpeek_api.client.links import Link  # noqa: PLC0415 - an extra

        return Link(self.servers, self.client, self.nkey, self.credentials)

    @property
    def place(self) -> Place:
        """What stands for the service's address."""
        return Place(self.shown, "http://farpeek", None, None, node=self)


@dataclass(frozen=True, slots=True)
class Place:
    """A service's address: ``base`` is what HTTP calls it, ``socket`` its unix socket if it is one.

    ``shown`` is how a person writes it. ``token_file`` is where the token was found, if in a file.
    """

    shown: str
    base: str
    socket: Path | None
    token: str | None = field(repr=False)
    token_file: Path | None = None
    node: Node | None = None


def default_socket() -> Path:
    """Where a service of this user listens when nobody says otherwise."""
    if os.geteuid() == 0:
        return Path("/run/farpeek/farpeek.sock")
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    folder = Path(runtime) / "farpeek" if runtime else Path(f"/tmp/farpeek-{os.geteuid()}")  # noqa: S108 - the service makes it 0700
    return folder / "farpeek.sock"


def find(
    url: str | None = None,
    token: str | None = None,
    token_file: str | os.PathLike[str] | None = None,
) -> Place:
    """Find the service: ``url``, ``$FARPEEK_URL``, the default socket, TCP on this host.

    Raises ValueError for what is no address, Unreachable for a socket that nobody listens on,
    OSError for a token file that cannot be read.
    """
    given = _Token(token)
    if token is None and token_file is not None:
        given = _Token.read(Path(token_file))
    url = url or os.environ.get("FARPEEK_URL")
    if url:
        return _place(url, given)
    path = default_socket()
    if path.exists():
        _check_listens(path)
        return _place(f"unix:{path}", given)
    return _place(f"http://127.0.0.1:{PORT}", given)


class _Token(NamedTuple):
    """A token, or None for none; and the file that it is from."""

    text: str | None = None
    file: Path | None = None

    @classmethod
    def read(cls, path: Path) -> _Token:
        return cls(read_token(path), path)


def _place(url: str, given: _Token) -> Place:
    if url.startswith("unix:"):
        # unix:///run/x.sock is how some tools write it
        path = Path("/" + url.removeprefix("unix:").lstrip("/"))
        if not url.removeprefix("unix:").startswith("/"):
            raise ValueError(f"{url!r}: the path of a socket begins with /")
        # A Host without a dot is taken on unix sockets.
        token = given if given.text else _token(path)
        return Place(f"unix:{path}", "http://farpeek", path, *token)
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError(f"{url!r} is no address: write unix:PATH, http://HOST:PORT or https://...")
    try:
        parts.port  # noqa: B018 - it is looked at, and refused
    except ValueError:
        raise ValueError(f"{url!r} is no address: a port is a number up to 65535") from None
    if parts.username is not None or parts.password is not None:
        raise ValueError("an address has no user or password in it: give `token`")
    token = given if given.text else _token(None, is_here=_is_loopback(parts.hostname))
    return Place(url, url.rstrip("/"), None, *token)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _token(path: Path | None, *, is_here: bool = True) -> _Token:
    """Find the token: $FARPEEK_TOKEN_FILE, else the file beside the socket where one is needed.

    That file is for this host's service. Another host would be given what it has no right to.
    """
    named = os.environ.get("FARPEEK_TOKEN_FILE")
    if named:
        return _Token.read(Path(named))
    if not is_here or (path is not None and _knows_us(path)):
        return _Token()
    beside = (path or default_socket()).with_name("token")
    try:
        return _Token.read(beside)
    except OSError:
        return _Token()  # it may need none; if it does, it says so


def _knows_us(path: Path) -> bool:
    """Whether the service knows us by our uid; an old token beside the socket would be refused."""
    try:
        return os.geteuid() in (0, path.stat().st_uid)
    except OSError:
        return False


def read_token(path: Path) -> str:
    """Read the first token of a token file.

    Raises OSError where it cannot be read, ValueError where there is none in it.
    """
    with path.open("rb") as file:
        text = file.read(_LARGEST_TOKEN_FILE).decode("ascii", "replace")
    for line in text.splitlines():
        token = line.strip()
        if token and not token.startswith("#"):
            return token
    raise ValueError(f"{path} has no token in it: write one on a line of its own")


def _check_listens(path: Path) -> None:
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise Unreachable(f"{path} cannot be looked at: {error.strerror}") from None
    if not stat.S_ISSOCK(mode):
        raise Unreachable(f"{path} is no socket: remove it, and start `farpeek serve`")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except OSError as error:
            raise Unreachable(complaint(f"unix:{path}", error)) from None


def complaint(shown: str, error: OSError | None) -> str:
    """Say why nobody answers, and what to do."""
    if isinstance(error, ConnectionRefusedError):
        return f"nobody listens on {shown}: start `farpeek serve`"
    if isinstance(error, FileNotFoundError):
        return f"there is no socket {shown}: start `farpeek serve`, or set FARPEEK_URL"
    if isinstance(error, PermissionError):
        return f"{shown} is not open to you: join the group of its --socket-group, or use a token"
    why = f": {error.strerror or error}" if error is not None else ""
    return f"no service answers on {shown}{why}: start `farpeek serve`, or set FARPEEK_URL"
