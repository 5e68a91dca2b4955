"""Who is asked by whom for what: the subjects, by which the broker proves it.

A client may publish ``farpeek.v1.CLIENT.>`` and nothing else; a node may subscribe to what has its
own name, ``all`` or the name of a group in the place of NODE. Answers go to the client's inbox, and
end with the node's name, which the broker lets nobody else put there.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

PREFIX: Final = "farpeek.v1"
EVERYBODY: Final = "all"
UP: Final = "up"
"""In the place of CLIENT: what nodes say of themselves."""

CLOCK: Final = "clock"
SAMPLERS: Final = "samplers"
CREDIT: Final = "credit"
CANCEL: Final = "cancel"
SEND: Final = "send"
"""What is asked of the agent itself."""

ABOUT_OTHERS: Final = frozenset({CREDIT, CANCEL, SEND})
"""Those that are words about the request whose ID stands behind them."""

OWN: Final = ABOUT_OTHERS | {CLOCK, SAMPLERS}

_GROUP: Final = "label-"
_NAME: Final = re.compile(r"[a-z0-9-]{1,63}")
_LABEL: Final = re.compile(r"([a-z0-9]{1,24})=([a-z0-9-]{1,24})")
_OPERATION: Final = re.compile(r"[a-z][a-z0-9_]{0,62}")
_INBOX: Final = re.compile(r"_INBOX\.([a-z0-9-]{1,63})\.([A-Za-z0-9_-]{1,64})")


class Asked(NamedTuple):
    """What a subject says; ``about`` is the ID of another request, where there is one."""

    client: str
    node: str
    operation: str
    about: str | None = None


class WrongName(ValueError):
    """A name that nobody can have here; ``str(error)`` says what one looks like."""


def check_node(name: str) -> str:
    """Give the name back if a node may have it. Raises WrongName."""
    if not _NAME.fullmatch(name):
        raise WrongName(f"{name!r} is no node's name: 1 to 63 of the letters a-z, digits and -")
    if name == EVERYBODY or name.startswith(_GROUP):
        raise WrongName(f"{name!r} is what several nodes are called: give the node another name")
    return name


def check_client(name: str) -> str:
    """Give the name back if a client may have it. Raises WrongName."""
    if not _NAME.fullmatch(name) or name == UP:
        raise WrongName(f"{name!r} is no client's name: 1 to 63 of a-z, digits and -; not `{UP}`")
    return name


def label(text: str) -> tuple[str, str]:
    """Take a label apart, ``KEY=VALUE``. Raises WrongName."""
    found = _LABEL.fullmatch(text)
    if found is None:
        raise WrongName(
            f"{text!r} is no label: write KEY=VALUE, each 1 to 24 of the letters a-z and digits, "
            "a value with - as well"
        )
    return found[1], found[2]


def group(key: str, value: str) -> str:
    """Name the nodes that have a label."""
    return f"{_GROUP}{key}-{value}"


def of_node(node: str, labels: Mapping[str, str]) -> list[str]:
    """Give the subjects that a node listens to."""
    names = [node, EVERYBODY, *(group(*each) for each in labels.items())]
    return [f"{PREFIX}.*.{name}.>" for name in names]


def request(client: str, node: str, operation: str, about: str | None = None) -> str:
    """Write the subject of a request."""
    last = "" if about is None else f".{about}"
    return f"{PREFIX}.{client}.{node}.{operation}{last}"


def parse(subject: str) -> Asked | None:
    """Take a request's subject apart; None if it is none, whoever sent it."""
    begin, _, rest = subject.partition(f"{PREFIX}.")
    parts = rest.split(".")
    if begin or len(parts) not in (3, 4):
        return None
    client, node, operation, *about = parts
    if not (_NAME.fullmatch(client) and _NAME.fullmatch(node) and _OPERATION.fullmatch(operation)):
        return None
    return Asked(client, node, operation, *about)


def inbox(client: str, number: str) -> str:
    """Write where the answers to a request go; each node puts its name behind it."""
    return f"_INBOX.{client}.{number}"


def own_inbox(node: str) -> str:
    """Begin the subjects where answers to a node's own questions go.

    Nothing else that it listens to may match them: that nobody answers, a broker tells to any one
    subscription that does (nats-server 2.15).
    """
    return f"_INBOX.{UP}.{node}"


def number_of(reply: str, client: str) -> str | None:
    """Give a request's ID; None where it wants its answers in somebody else's inbox."""
    found = _INBOX.fullmatch(reply)
    return found[2] if found is not None and found[1] == client else None
