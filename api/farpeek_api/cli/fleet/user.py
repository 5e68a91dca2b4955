"""`farpeek fleet user`: a key for a node or a client, and its entry for the broker."""

from __future__ import annotations

import importlib
import json
import os
import sys
from typing import TYPE_CHECKING, Any, Final

from farpeek_api.bus import permits, subjects
from farpeek_api.cli.errors import CommandError, WrongWord

if TYPE_CHECKING:
    import argparse

    from farpeek_api.bus.permits import Permits

_MISSING: Final = "it takes nkeys: pip install 'farpeek[fleet]'"
_ENTRY: Final = """\
{seed}

# Give the line above to {whose} `{name}`, in a file that nobody else may read. What follows is
# for `users` of the broker's configuration; it has the public key alone. The seed is shown this
# once, and kept nowhere.
{{
  nkey: "{key}"
  permissions: {{
    publish: {publish}
    subscribe: {subscribe}
  }}
}}
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add what it takes."""
    parser.add_argument("name", metavar="NAME", help="what it is called")
    kind = parser.add_mutually_exclusive_group(required=True)
    kind.add_argument("--node", action="store_true", help="it is a node: `farpeek agent --nkey`")
    kind.add_argument("--client", action="store_true", help="it is a client: --nkey of commands")
    parser.add_argument(
        "--label",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="of a node: a group that it may belong to (repeatable)",
    )


def run(chosen: argparse.Namespace) -> int:
    """Print both. Raises CommandError."""
    try:
        allowed = _allowed(chosen)
    except subjects.WrongName as error:
        raise WrongWord(str(error)) from None
    seed, key = _made()
    text = _ENTRY.format(
        seed=seed,
        key=key,
        name=chosen.name,
        whose="the agent of the node" if chosen.node else "the client",
        publish=json.dumps(allowed.publish),
        subscribe=json.dumps(allowed.subscribe),
    )
    sys.stdout.write(text)
    return 0


def _allowed(chosen: argparse.Namespace) -> Permits:
    labels = dict(subjects.label(each) for each in chosen.label)
    if chosen.node:
        return permits.of_node(chosen.name, labels)
    if labels:
        raise WrongWord("--label is for a node: a client asks any group")
    return permits.of_client(chosen.name)


def _made() -> tuple[str, str]:
    """Make a seed, and its public key."""
    try:
        nkeys: Any = importlib.import_module("nkeys")  # an extra, without types
    except ImportError:
        raise CommandError(_MISSING) from None
    seed = nkeys.encode_seed(os.urandom(32), nkeys.PREFIX_BYTE_USER)
    return str(seed.decode()), str(nkeys.from_seed(seed).public_key.decode())
