"""`farpeek gateway`: the HTTP API of a whole fleet, for who has no NATS."""

from __future__ import annotations

import argparse
import importlib.util
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from farpeek_api.cli import dialling, parsers, statuses

if TYPE_CHECKING:
    from collections.abc import Sequence

    from farpeek_api.fleet.callers import Keys
    from farpeek_api.serving.settings import Settings

_EPILOG: Final = """\
Whoever asks is let in as by `farpeek serve`. With --policy each client has its name there, and asks
nodes by that name; without, all ask as --client. By what the broker knows them is a file for each
name in the folder of --nkeys (NAME.nk or NAME.creds), or one user who may publish in all of the
names: --nkey, --creds or one in the URL (docs/fleet.md).
"""
_LISTEN: Final = "--listen"
SERVING: Final = (
    *("token_file", "policy", "allow_host", "no_ui", "no_auth", "insecure_listen"),
    *("tls_cert", "tls_key", "tls_client_ca", "reload_interval", "socket_mode", "socket_group"),
    *("log_format", "log_level", "deadline", "max_inflight_bytes", "max_client_inflight_bytes"),
    *("max_body_bytes", "max_head_bytes", "head_timeout", "idle_timeout", "max_connections"),
    "max_client_connections",
)
"""Settings of the service that mean the same here."""


def parser() -> parsers.Parser:
    """Make the command's parser."""
    from farpeek_api.serving import settings  # noqa: PLC0415 - slow to load

    made = parsers.Parser(
        "farpeek gateway",
        description="Serve the nodes of a fleet by HTTP.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    dialling.argument(made)
    made.add_argument(
        "--nkeys", metavar="DIR", type=Path, help="a seed NAME.nk, or NAME.creds, of each client"
    )
    made.add_argument(
        "--nkey", metavar="FILE", type=Path, help="one seed for all (default: $FARPEEK_NKEY)"
    )
    made.add_argument("--creds", metavar="FILE", type=Path, help="the same, as a JWT with its seed")
    made.add_argument(
        "--nats-ca", metavar="FILE", type=Path, help="whose certificate the broker has"
    )
    made.add_argument(
        "--client",
        metavar="NAME",
        help="in whose name all ask, without --policy (default: $FARPEEK_CLIENT)",
    )
    made.add_argument(
        _LISTEN,
        metavar="URL",
        action="append",
        default=argparse.SUPPRESS,
        help="unix:PATH, http://HOST:PORT or https://HOST:PORT; may be repeated",
    )
    settings.add_flags(made, SERVING)
    return made


def main(arguments: Sequence[str]) -> int:
    """Serve until a signal ends it."""
    own = parser()
    chosen = own.parse_args(arguments)
    if importlib.util.find_spec("nats") is None:
        sys.stderr.write(f"farpeek gateway: {dialling.MISSING}\n")
        return statuses.FAILED
    settings = _settings(own, chosen)
    try:
        keys, client = _keys(chosen), _client(chosen, settings)
    except (ValueError, OSError) as error:
        own.error(str(error))
    return _run(settings, keys, client)


def _settings(own: parsers.Parser, chosen: argparse.Namespace) -> Settings:
    from farpeek_api.serving import settings  # noqa: PLC0415 - slow to load

    known = (*SERVING, _LISTEN.removeprefix("--"))
    flags = {name: value for name, value in vars(chosen).items() if name in known}
    made = settings.of_flags(own, flags)
    if not made.names_listeners:
        own.error("where is it to listen? --listen unix:PATH, or https://HOST:PORT")
    return made


def _keys(chosen: argparse.Namespace) -> Keys:
    """Find by what the broker knows clients. Raises ValueError, OSError."""
    from farpeek_api.fleet.callers import Keys  # noqa: PLC0415 - slow to load

    servers = dialling.servers(chosen)
    if chosen.nkeys is not None and not chosen.nkeys.is_dir():
        raise ValueError(
            f"--nkeys {chosen.nkeys} is no folder: it has a file NAME.nk for each client"
        )
    named = os.environ.get("FARPEEK_NKEY")
    nkey = chosen.nkey or (Path(named) if named else None)
    dialling.check_keys(nkey, chosen.creds)
    return Keys(servers, chosen.nkeys, nkey, chosen.creds, dialling.tls(chosen.nats_ca))


def _client(chosen: argparse.Namespace, settings: Settings) -> str | None:
    """Find in whose name all ask; None where a policy says who each is. Raises ValueError."""
    from farpeek_api.bus import subjects  # noqa: PLC0415 - slow to load

    if settings.policy is not None:
        if chosen.client is not None:
            raise ValueError("--policy and --client contradict each other: give one")
        return None
    name = chosen.client or os.environ.get("FARPEEK_CLIENT")
    if not name:
        raise ValueError(
            "in whose name are nodes asked? --policy FILE, with an entry for each client, or "
            "--client NAME for all"
        )
    return subjects.check_client(name)


def _run(settings: Settings, keys: Keys, client: str | None) -> int:
    from farpeek_api.gate import tokens  # noqa: PLC0415 - slow to load, as all of it
    from farpeek_api.policy.file import PolicyError  # noqa: PLC0415 - the same
    from farpeek_api.portal import server  # noqa: PLC0415 - the same
    from farpeek_api.serving import listeners, logs, tls  # noqa: PLC0415 - the same

    logs.configure(settings.log_format, settings.logging_level)
    logging.getLogger("nats").setLevel(logging.CRITICAL)  # it has a traceback for each failure
    try:
        server.run(settings, keys, client)
    except (PolicyError, listeners.ListenError, tokens.TokenError, tls.TlsError) as error:
        lines = str(error).splitlines()
        sys.stderr.write("".join(f"farpeek gateway: {line}\n" for line in lines))
        return statuses.USAGE
    return statuses.DONE
