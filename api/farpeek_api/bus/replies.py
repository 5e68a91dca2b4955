"""Whom a request to many is for, what comes of each of them, and of all."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from farpeek_api.bus import subjects

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from farpeek_api.bus.problems import Refusal

How = Literal["answered", "silent", "refused"]

MOST_NAMED: Final = 4_096
"""Nodes that one request may name."""

_PROBLEM: Final = {"content-type": "application/problem+json"}


@dataclass(frozen=True, slots=True)
class Whom:
    """Who is asked: everybody, those that have a label, or nodes by their names."""

    name: str = subjects.EVERYBODY
    """What stands for them all in a subject."""
    label: tuple[str, str] | None = None
    nodes: tuple[str, ...] = ()

    @classmethod
    def everybody(cls) -> Whom:
        """All nodes."""
        return cls()

    @classmethod
    def group(cls, key: str, value: str) -> Whom:
        """Those that have a label. Raises WrongName."""
        key, value = subjects.label(f"{key}={value}")
        return cls(subjects.group(key, value), (key, value))

    @classmethod
    def named(cls, nodes: Sequence[str]) -> Whom:
        """Some nodes. Raises WrongName, ValueError for none or too many."""
        names = tuple(dict.fromkeys(map(subjects.check_node, nodes)))
        if not 0 < len(names) <= MOST_NAMED:
            raise ValueError(f"1 to {MOST_NAMED} nodes are named, {len(names)} is none of that")
        return cls("", None, names)


@dataclass(frozen=True, slots=True)
class Reply:
    """What has come of one node. A refusal that was not the service's own is one here, too."""

    node: str
    how: How
    status: int
    headers: Mapping[str, str]
    body: bytes
    refusal: Refusal | None = None


@dataclass(slots=True)
class Outcome:
    """Which nodes have answered, which have refused, and of which nothing whole has come."""

    answered: list[str] = field(default_factory=list[str])
    silent: list[str] = field(default_factory=list[str])
    refused: list[str] = field(default_factory=list[str])

    def add(self, reply: Reply) -> None:
        """Count it."""
        by_how = {"answered": self.answered, "silent": self.silent, "refused": self.refused}
        by_how[reply.how].append(reply.node)


def refused(node: str, refusal: Refusal, how: How) -> Reply:
    """Make a reply of what is none: the problem, as the service would have it."""
    body = refusal.document(node)
    return Reply(node, how, refusal.kind.status, _PROBLEM, body, refusal)
