"""How `farpeek agent` and `farpeek gateway` find a broker, and prove who they are."""

from __future__ import annotations

import os
import ssl
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import argparse
    from pathlib import Path


MISSING: Final = "it takes nats-py: pip install 'farpeek[fleet]'"


def argument(parser: argparse.ArgumentParser) -> None:
    """Add what says where it is."""
    parser.add_argument(
        "--nats",
        metavar="URL",
        action="append",
        help="the broker (repeatable, for a cluster; default: $FARPEEK_NATS)",
    )


def servers(chosen: argparse.Namespace) -> list[str]:
    """Give its addresses. Raises ValueError where there is none."""
    given: list[str] = chosen.nats or listed("FARPEEK_NATS")
    if not given:
        raise ValueError("where is the broker? --nats nats://HOST:4222")
    return given


def listed(name: str) -> list[str]:
    """Give what an environment variable has, with commas between."""
    return [each for each in os.environ.get(name, "").split(",") if each]


def check_keys(*paths: Path | None) -> None:
    """Raise OSError for a file that cannot be read."""
    for path in paths:
        if path is not None:
            path.open("rb").close()


def tls(authority: Path | None) -> ssl.SSLContext | None:
    """Trust the broker's certificate by that file; None: as the system does. Raises OSError."""
    return None if authority is None else ssl.create_default_context(cafile=authority)
