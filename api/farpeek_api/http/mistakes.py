"""How a mistake in a request is told: where it is, and what would be right."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from farpeek_api.http.memory_bodies import MOST_READS
from farpeek_api.http.schema import BRANCH, MOST_READINGS

if TYPE_CHECKING:
    from collections.abc import Sequence

_SHOWN_OF_A_NAME = 64

_CURES: Final = {
    "missing": "it is needed: add it",
    "extra_forbidden": "nothing of that name is known here: remove it",
}
_HINTS: Final = {
    "lengths": "a length is an integer from 0 on: one for all, or one for each address",
    "pid": "a process's number is an integer from 1 to 2147483647",
    "pid_namespace": "`caller` or `service`: in whose pid namespace `pid` counts",
    "ns_pid": "a process's number in its own pid namespace is an integer from 1 to 2147483647",
    "limit": "an integer from 1 on: the most matches of a search, or targets of a standing match",
    "label": "write one as KEY=VALUE",
    "timeout_s": "write seconds, like 2.0",
    "filter": "the bits of coredump_filter, core(5): an integer from 0 to 127; 51 by default",
    "labels": "up to 32 names of at most 63 characters, with texts of at most 256",
    "id": "a number of your own: an integer of at most 64 bits",
    "unsubscribe": 'the number of a subscription, as `{"unsubscribe": 7}`',
    "reads": f"a list of 1 to {MOST_READS} reads: target, addresses, lengths",
    "stable": f"the most readings until two are equal: an integer from 2 to {MOST_READINGS}",
    "uid": "a user's number is an integer from 0 to 4294967294",
}


def cause(place: tuple[int | str, ...], kind: str, message: str) -> str:
    """Say what is wrong at ``place`` and what would be right, from pydantic's error."""
    if kind in _CURES:
        return _CURES[kind]
    if kind == "value_error":
        return message.removeprefix("Value error, ")
    hint = _HINTS.get(str(place[0])) if place else None
    return f"{message}; {hint}" if hint else message


def without_branches(path: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """Give the place of a mistake in the request, without pydantic's names of branches."""
    return tuple(
        part
        for part in path
        if not (isinstance(part, str) and (part.startswith(BRANCH) or part == "[key]"))
    )


def place_name(place: Sequence[int | str]) -> str:
    """Write a place in a request: ``addresses[3]``, ``match.uid``."""
    name = ""
    for part in place:
        if isinstance(part, int):
            name += f"[{part}]"
        else:
            name += ("." if name else "") + part[:_SHOWN_OF_A_NAME]
    return name
