"""TARGET words: a pid, an id, or what a process is (``comm=ruby``, ``exe=*/ruby,uid=1000``)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple, TypedDict, cast

from farpeek_api.cli.errors import WrongWord
from farpeek_api.cli.words.nearest import nearest

if TYPE_CHECKING:
    from collections.abc import Mapping

MATCHED: Final = ("comm", "exe", "uid", "cgroup", "container", "ns_pid")
_NUMBERS: Final = ("uid", "ns_pid")
_LARGEST: Final = 1 << 32
_SPLIT: Final = rf",(?=(?:{'|'.join(MATCHED)})=)"
HOW: Final = "write a pid, an id, or what it is: comm=NAME, exe=*/NAME, container=ID*, uid=N"


class Match(TypedDict, total=False):
    """What a process is to be like; texts are shell globs."""

    comm: str
    exe: str
    uid: int
    cgroup: str
    container: str
    ns_pid: int


class TargetWord(NamedTuple):
    """One of ``pid``, ``id`` and ``match``."""

    word: str
    pid: int | None = None
    id: str | None = None
    match: Match = Match()

    def body(self, pid_namespace: str | None) -> dict[str, object]:
        """Give what a request says to register it."""
        if self.id is not None:
            return {"id": self.id}
        if self.pid is not None:
            return {"pid": self.pid, "pid_namespace": pid_namespace}
        return {"match": self.match}


def parse(word: str) -> TargetWord:
    """Take a TARGET apart. Raises WrongWord."""
    if word.isascii() and word.isdecimal():
        return TargetWord(word, pid=_number(word, "pid"))
    if re.fullmatch(r"[0-9]+-[0-9A-Za-z]+", word):
        return TargetWord(word, id=word)
    if "=" in word:
        return TargetWord(word, match=match(word))
    raise WrongWord(f"{word!r} is no target: {HOW}")


def match(word: str) -> Match:
    """Take ``comm=ruby,uid=1000`` apart. Raises WrongWord."""
    found: dict[str, object] = {}
    for part in re.split(_SPLIT, word):
        name, _, value = part.partition("=")
        if name not in MATCHED:
            right = nearest(name, MATCHED)
            cure = f"did you mean {right}={value}?" if right else HOW
            raise WrongWord(f"{name!r} is nothing that a target is known by: {cure}")
        if not value:
            raise WrongWord(f"{part!r} says nothing: write {name}=VALUE")
        found[name] = _number(value, name) if name in _NUMBERS else value
    return cast("Match", found)


def _number(word: str, name: str) -> int:
    if not (word.isascii() and word.isdecimal() and len(word) < 12 and int(word) < _LARGEST):  # noqa: PLR2004 - digits
        raise WrongWord(f"{word!r} is no {name}: it is a decimal number")
    return int(word)


def candidate(members: Mapping[str, object]) -> str:
    """Show a process that fits an ambiguous word: what tells it from the others."""
    shown = [f"pid {members.get('pid')}", f"comm={members.get('comm')}"]
    shown += [f"{name}={members[name]}" for name in ("exe", "container") if members.get(name)]
    if members.get("target"):
        shown.append(f"id {members['target']}")
    return "  ".join(shown)
