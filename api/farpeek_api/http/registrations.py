"""Wire models of what makes processes targets, and lists them; as ``schema`` has all others."""

from __future__ import annotations

from typing import Annotated, Final, Self

from pydantic import Field, model_validator

from farpeek.identity import PidNamespace, TargetState  # noqa: TC001 - pydantic looks at them
from farpeek.targets import claims
from farpeek_api.http.queries import From  # noqa: TC001 - the same
from farpeek_api.http.schema import MatchRequest, TargetId, Wire

HIGHEST_LIMIT: Final = 16_384
"""Targets of one standing match; more than the service holds by default there cannot be."""

_MOST_OF_LABELS: Final = 4096
"""Bytes of all names and texts of a target: there may be thousands of targets."""

_SomeMatch = Annotated[MatchRequest, Field(json_schema_extra={"minProperties": 1})]
_LabelName = Annotated[str, Field(min_length=1, max_length=63)]
_LabelValue = Annotated[str, Field(max_length=256)]


class Labelled(Wire):
    """Whatever can have labels."""

    labels: Annotated[dict[_LabelName, _LabelValue], Field(max_length=32)] | None = None
    """Yours alone; 4 KiB in all. Where they are given, they replace what was there."""

    @model_validator(mode="after")
    def _check_labels(self) -> Self:
        if self.labels and claims.size(self.labels) > _MOST_OF_LABELS:
            raise ValueError(f"`labels` have over {_MOST_OF_LABELS} bytes in all: shorten them")
        return self


class RegisterRequest(Labelled):
    """Body of a registration: whom, by one of four ways to name it."""

    pid: Annotated[int, Field(ge=1, lt=2**31)] | None = None
    """The process with that number, in the service's pid namespace."""
    pid_namespace: PidNamespace | None = None
    """Whose number `pid` is, for a caller in another pid namespace."""
    id: TargetId | None = None
    """The process that an id was given for, also by another service on this host."""
    itself: Annotated[bool, Field(alias="self")] = False
    """The process that has connected to the unix socket."""
    match: _SomeMatch | None = None
    """The process that fits."""
    all: bool = False
    """With `match`: all that fit now, up to 4,096."""

    @model_validator(mode="after")
    def _check_one(self) -> Self:
        named = (self.pid is not None, self.id is not None, self.itself, self.match is not None)
        if sum(named) != 1:
            raise ValueError("give one of `pid`, `id`, `match` and `self`, and only one")
        if self.pid_namespace is not None and self.pid is None:
            raise ValueError("`pid_namespace` says whose number `pid` is: give that")
        if self.all and self.match is None:
            raise ValueError("`all` goes with `match`: give that")
        check_match(self.match)
        return self


def check_match(match: MatchRequest | None) -> None:
    """Refuse one that says nothing."""
    if match == MatchRequest():
        raise ValueError("`match` is empty: name at least one of comm, exe, uid, cgroup, ...")


class StandingRequest(Labelled):
    """Body of a standing match."""

    match: _SomeMatch
    """What is held."""
    limit: Annotated[int, Field(ge=1, le=HIGHEST_LIMIT)] = 1000
    """Targets at once."""

    @model_validator(mode="after")
    def _check_match(self) -> Self:
        check_match(self.match)
        return self


class ReleaseQuery(Wire):
    """Parameters of a release."""

    all: bool = False
    """Drop the claims of all clients."""


class TargetsQuery(Wire):
    """Parameters of the list of targets."""

    state: TargetState | None = None
    """Those in this state alone."""
    label: Annotated[str, Field(pattern="=", max_length=320)] | None = None
    """KEY=VALUE: those that you gave this label."""
    first: From = 0
    """Begin behind this place; `next` of a list that was cut."""

    def wanted_label(self) -> tuple[str, str] | None:
        """Name and text of the label that is asked for."""
        if self.label is None:
            return None
        name, _, text = self.label.partition("=")
        return name, text
