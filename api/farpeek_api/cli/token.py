"""`farpeek token new`: a token for a client of a policy, and the entry that lets it in."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Final

from farpeek_api.cli import parsers
from farpeek_api.policy import tokens

if TYPE_CHECKING:
    from collections.abc import Sequence

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_ENTRY: Final = """\
{token}

# Give the line above to the client, and the policy what follows. It has no more than the token's
# hash: the token is shown this once, and kept nowhere.
[clients.{name}]
token_sha256 = ["{digest}"]
verbs = ["inspect", "register", "read", "events"]
modes = ["nowait"]
targets = []  # which processes it sees: [{{ exe = "/usr/bin/ruby*", uid = [1000] }}]
"""


def parser() -> parsers.Parser:
    """Make the command's parser."""
    made = parsers.Parser("farpeek token", description="Make a token, and its entry in a policy.")
    made.add_argument("what", choices=("new",), type=parsers.one_of("new"))
    made.add_argument("name", metavar="NAME", help="what the policy calls the client")
    return made


def main(arguments: Sequence[str]) -> int:
    """Print both."""
    own = parser()
    name: str = own.parse_args(arguments).name
    if not _NAME.fullmatch(name):
        own.error(
            f"{name!r} is no name: it has 1 to 64 letters, digits, and . _ - behind the first"
        )
    token = tokens.make()
    quoted = f'"{name}"' if "." in name else name
    sys.stdout.write(_ENTRY.format(token=token, name=quoted, digest=tokens.digest(token)))
    return 0
