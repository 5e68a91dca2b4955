"""What a sampler says: which processes of all nodes are read, what of them, and how often."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, NamedTuple, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

from farpeek_api.bus import kept, subjects
from farpeek_api.bus.subjects import WrongName

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

MOST_OF_ONE: Final = 16
"""Samplers of one client that a node runs."""
MOST_KEPT: Final = 64
"""Samplers that one client may keep. The broker cannot count by clients: nodes look at no more, and
commands put no more."""
MOST: Final = 128
MOST_HZ: Final = 400.0
"""Ticks a second of one client's samplers together, for each target."""
MOST_BYTES_S: Final = 4 << 20
"""Of one client's samples, of one node."""

_HIGHEST_HZ: Final = 100.0
_MOST_REGIONS: Final = 64
_MOST_BYTES: Final = 64 << 10
_LONGEST: Final = 256
_NAME: Final = re.compile(r"[a-z0-9-]{1,63}")
_DELETIONS: Final = ("DEL", "PURGE")

Glob = Annotated[str, Field(min_length=1, max_length=_LONGEST)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Match(_Strict):
    """What a process is, as the service's standing matches have it."""

    comm: Glob | None = None
    exe: Glob | None = None
    uid: Annotated[int, Field(ge=0, lt=2**32 - 1)] | None = None
    cgroup: Glob | None = None
    container: Glob | None = None
    ns_pid: Annotated[int, Field(ge=1, lt=2**31)] | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.model_dump(exclude_none=True):
            raise ValueError("say what a process is: `comm`, `exe`, `uid`, `cgroup`, ...")
        return self


class Sampler(_Strict):
    """One sampler."""

    match: Match
    """Processes that fit, now and later."""
    regions: (
        Annotated[
            list[tuple[int | str, Annotated[int, Field(ge=1, le=_MOST_BYTES)]]],
            Field(min_length=1, max_length=_MOST_REGIONS),
        ]
        | None
    ) = None
    """``[address, length]`` each; an address is a number, or a text like "0x7f00"."""
    plan: dict[str, Any] | None = None
    """What is read instead, as the service's plans have it."""
    hz: Annotated[float, Field(gt=0, le=_HIGHEST_HZ, allow_inf_nan=False)]
    mode: Literal["nowait", "wait"] = "nowait"
    changed_only: bool = False
    limit: Annotated[int, Field(ge=1, le=1000)] = 64
    """Targets of one node at once."""
    until: AwareDatetime | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.regions is None) == (self.plan is None):
            raise ValueError("give either `regions` or `plan`, and not both")
        for address, _ in self.regions or ():
            if not 0 <= number(address) < 2**64:
                raise ValueError(f"{address!r} is no address: write a number, or 0x and digits")
        if sum(length for _, length in self.regions or ()) > _MOST_BYTES:
            raise ValueError(f"`regions` have more than {_MOST_BYTES} bytes together")
        return self

    def is_over(self, now: datetime) -> bool:
        """Whether its time is over."""
        return self.until is not None and now >= self.until

    def subscription(self, match: str) -> dict[str, Any]:
        """Write it as the service's streams have it."""
        what: dict[str, Any] = {"plan": self.plan}
        if self.regions is not None:
            addresses = [number(address) for address, _ in self.regions]
            what = {"addresses": addresses, "lengths": [length for _, length in self.regions]}
        how = {"hz": self.hz, "mode": self.mode, "changed_only": self.changed_only}
        return {"match": match, **what, **how}


def number(address: int | str) -> int:
    """Give an address as a number; -1 for what is none."""
    if isinstance(address, int):
        return address
    return int(address, 16) if re.fullmatch(r"0x[0-9a-fA-F]{1,16}", address) else -1


class WrongSampler(ValueError):
    """It is none; ``str(error)`` names the member, and the cure."""


def parse(text: bytes) -> Sampler:
    """Read a sampler. Raises WrongSampler."""
    try:
        return Sampler.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        said = first["msg"].removeprefix("Value error, ")
        raise WrongSampler(f"`{place}`: {said}" if place else said) from None


class Name(NamedTuple):
    """Whose sampler it is, and what that client calls it."""

    client: str
    name: str

    @property
    def key(self) -> str:
        """Where it is kept; the broker lets its client alone publish there."""
        return f"{kept.KEYS.removesuffix('>')}{self.client}.{self.name}"

    def samples(self, node: str) -> str:
        """Write the subject of a node's samples."""
        return subjects.request(subjects.UP, node, "samples", f"{self.client}.{self.name}")


def check(client: str, name: str) -> Name:
    """Give a sampler's name. Raises WrongName."""
    if not _NAME.fullmatch(name):
        raise WrongName(f"{name!r} is no sampler's name: 1 to 63 of the letters a-z, digits and -")
    return Name(subjects.check_client(client), name)


def of_key(subject: str, begin: str = kept.KEYS.removesuffix(">")) -> Name | None:
    """Give the name of a sampler by the subject that it is kept at; None if that is none."""
    client, _, name = subject.removeprefix(begin).partition(".")
    try:
        return check(client, name) if subject.startswith(begin) else None
    except WrongName:
        return None


class Wanted(NamedTuple):
    """A sampler as it is kept."""

    name: Name
    sequence: int
    text: bytes

    @property
    def shown(self) -> str:
        """Its text, whatever was put there."""
        return self.text.decode("utf-8", "replace")


def wanted(message: kept.Message) -> Wanted | None:
    """Take one that is kept; None for one that was taken away."""
    name = of_key(message.subject)
    if name is None or message.headers.get("KV-Operation") in _DELETIONS:
        return None
    return Wanted(name, message.sequence, message.payload)


class Kept:
    """All that is kept, as far as it is looked at: of each client what was put first."""

    def __init__(self) -> None:
        self.wanted: dict[Name, Wanted] = {}
        self.beyond: dict[str, int] = {}
        """How many more each client keeps."""
        self._counts: dict[str, int] = {}

    def add(self, each: Wanted) -> None:
        """Take the next one; they come as they were put."""
        client = each.name.client
        count = self._counts.get(client, 0)
        if count >= MOST_KEPT:
            self.beyond[client] = self.beyond.get(client, 0) + 1
            return
        self._counts[client] = count + 1
        self.wanted[each.name] = each


def admitted(samplers: Iterable[tuple[Wanted, Sampler]]) -> set[Name]:
    """Say which of them a node runs: those that were put first, within the bounds."""
    counts: dict[str, int] = {}
    rates: dict[str, float] = {}
    found: set[Name] = set()
    for each, sampler in sorted(samplers, key=lambda pair: pair[0].sequence):
        client = each.name.client
        count, rate = counts.get(client, 0) + 1, rates.get(client, 0.0) + sampler.hz
        if count <= MOST_OF_ONE and rate <= MOST_HZ and len(found) < MOST:
            counts[client], rates[client] = count, rate
            found.add(each.name)
    return found
