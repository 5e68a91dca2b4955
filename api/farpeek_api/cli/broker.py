"""The broker of a fleet, for commands that ask it and no service."""

from __future__ import annotations

import logging
import os
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from farpeek_api.cli.errors import CommandError, WrongWord

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from farpeek_api.bus.connecting import Connected
    from farpeek_api.cli import parsers

_MISSING: Final = "it takes nats-py: pip install 'farpeek[fleet]'"
_SILENT: Final = (
    "the broker has not answered: it has no JetStream (`jetstream {store_dir: ...}` in its "
    "configuration), or its permissions do not let you ask for that (deploy/nats/fleet.conf)"
)


def arguments(group: parsers.Adds) -> None:
    """Add what says where it is, and who asks."""
    group.add_argument("--nats", metavar="URL", help="the broker (else $FARPEEK_NATS)")
    group.add_argument(
        "--client", metavar="NAME", help="in whose name it is asked (else $FARPEEK_CLIENT)"
    )
    group.add_argument(
        "--nkey", metavar="PATH", help="file with the client's nkey seed (else $FARPEEK_NKEY)"
    )
    group.add_argument("--creds", metavar="PATH", help="file with a JWT and its seed instead")


class Words(NamedTuple):
    """What was chosen of them."""

    servers: list[str]
    client: str
    nkey: Path | None
    creds: Path | None

    @classmethod
    def find(cls, chosen: object, client: str = "") -> Words:
        """Take them from the command line, and else from the environment. Raises WrongWord."""

        def word(name: str) -> str:
            given: str | None = getattr(chosen, name)
            return given or os.environ.get(f"FARPEEK_{name.upper()}", "")

        servers = [each for each in word("nats").split(",") if each]
        if not servers:
            raise WrongWord("where is the broker? --nats nats://HOST:4222, or $FARPEEK_NATS")
        client = word("client") or client
        if not client:
            raise WrongWord("in whose name? --client NAME, or $FARPEEK_CLIENT")
        nkey, creds = word("nkey"), word("creds")
        return cls(servers, client, Path(nkey) if nkey else None, Path(creds) if creds else None)


@asynccontextmanager
async def connected(words: Words, name: str) -> AsyncGenerator[Connected, None]:
    """Connect, as the client. Raises CommandError, also for what goes wrong within."""
    try:
        import nats.errors  # noqa: PLC0415 - slow to load, as all of it
        from nats.js.errors import APIError, ServiceUnavailableError  # noqa: PLC0415

        from farpeek_api.bus import connecting, subjects  # noqa: PLC0415
        from farpeek_api.bus.kept import NotKept  # noqa: PLC0415
        from farpeek_api.bus.problems import Refusal  # noqa: PLC0415
    except ImportError:
        raise CommandError(_MISSING) from None
    logging.getLogger("nats").setLevel(logging.CRITICAL)  # it has a traceback for each failure
    try:
        subjects.check_client(words.client)
    except ValueError as error:
        raise WrongWord(str(error)) from None
    way = connecting.Way(
        words.servers,
        f"farpeek {name} {words.client}",
        words.nkey,
        words.creds,
        inbox_prefix=f"_INBOX.{words.client}",
    )
    denied: list[str] = []

    def failed(error: Exception) -> None:
        denied.append(str(error).removeprefix("nats: "))

    made: Connected | None = None
    try:
        made = await connecting.connect_to_ask(way, words.client, failed)
        yield made
    except Refusal as refusal:
        raise CommandError(str(refusal)) from None
    except (
        nats.errors.NoRespondersError,
        nats.errors.TimeoutError,
        ServiceUnavailableError,
    ):
        why = f": {denied[-1][:200]}" if denied else ""
        raise CommandError(f"{_SILENT}{why}") from None
    except (APIError, NotKept) as error:
        raise CommandError(f"the broker says: {str(error).removeprefix('nats: ')}") from None
    except (nats.errors.Error, OSError, ValueError) as error:
        why = (denied or [str(error).removeprefix("nats: ")])[0]
        raise CommandError(f"no broker at {way.shown}: {why[:200]}") from None
    finally:
        if made is not None:
            await connecting.close(made.client)
