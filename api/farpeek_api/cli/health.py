"""`farpeek health`: asks a running service whether it is ready, for probes."""

from __future__ import annotations

import http.client
import os
import sys
from typing import TYPE_CHECKING

from farpeek_api import output
from farpeek_api.cli.localhttp import connect
from farpeek_api.serving.listeners import default_socket_path, parse_address

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

TIMEOUT_S = 3.0


def parser() -> argparse.ArgumentParser:
    """Make the command's parser."""
    made = output.Parser(
        prog="farpeek health", description="Ask a running service whether it is ready."
    )
    made.add_argument(
        "--listen",
        metavar="URL",
        default=_default_listener(),
        help="where it listens: unix:PATH or http://HOST:PORT (default: %(default)s)",
    )
    return made


def main(arguments: Sequence[str]) -> int:
    """Give 0 for a ready service; 1, and a line that says why, for any other."""
    url: str = parser().parse_args(arguments).listen
    complaint = ask(url)
    if complaint is None:
        return 0
    sys.stderr.write(f"farpeek health: {complaint}\n")
    return 1


def _default_listener() -> str:
    listeners = [each.strip() for each in os.environ.get("FARPEEK_LISTEN", "").split(",")]
    return listeners[0] or f"unix:{default_socket_path()}"


def ask(url: str) -> str | None:
    """Ask the service at ``url``; ``None`` if it is ready, else the reason."""
    try:
        connection = connect(parse_address(url), TIMEOUT_S)
        try:
            connection.request("GET", "/readyz")
            status = connection.getresponse().status
        finally:
            connection.close()
    except ValueError as error:
        return str(error)
    except OSError as error:
        return f"no service answers on {url}: {error.strerror or error}"
    except http.client.HTTPException as error:
        return f"what answers on {url} is no farpeek: {type(error).__name__}"
    return None if status == http.client.OK else f"the service on {url} is not ready: {status}"
