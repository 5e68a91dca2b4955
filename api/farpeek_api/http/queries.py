"""Wire models of parameters: what the part of an address behind the `?` may say."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Annotated, Final, Literal, TypeVar, cast

from pydantic import Field, model_validator

from farpeek.errors import InvalidRequest
from farpeek.model import ADDRESS_LIMIT, MapsSpec, Mode
from farpeek_api.http.schema import (
    MOST_READINGS,
    Address,
    Generation,
    MatchRequest,
    TargetId,
    Wire,
    address_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

LONGEST_WAIT_S: Final = 300.0


class NoQuery(Wire):
    """For routes that take no parameters."""


From = Annotated[int, Field(alias="from", ge=0, lt=ADDRESS_LIMIT)]


class ProcessesQuery(MatchRequest):
    """Parameters of the list of processes; none fits all."""

    first: From = 0
    """Begin with this number; `next` of a list that was cut."""


class DoctorQuery(Wire):
    """Parameters of the doctor."""

    pid: Annotated[int, Field(ge=1, lt=2**31)] | None = None
    """A process to try, by its number in the service's pid namespace."""


class TargetQuery(Wire):
    """Parameters of one target."""

    wait: Literal["exit"] | None = None
    """Answer when it has exited."""
    timeout_s: Annotated[float, Field(gt=0, le=LONGEST_WAIT_S, allow_inf_nan=False)] | None = None
    """With `wait`: answer with the running target after so long; 30 by default."""

    @model_validator(mode="after")
    def _check_timeout(self) -> TargetQuery:
        if self.timeout_s is not None and self.wait is None:
            raise ValueError("`timeout_s` goes with `wait=exit`: add that")
        return self


class MapsQuery(Wire):
    """Parameters of the list of mappings."""

    address: Address | None = None
    """The one mapping that holds it, or none."""
    first: Annotated[Address, Field(alias="from")] = 0
    """Begin with the mapping that holds this address, or the next one above it."""
    mode: Mode = Mode.NOWAIT
    """`nowait`: nothing is brought into memory. `wait`: build ids are read from the files."""
    residency: bool = False
    """Count the pages of each that are in memory, and in swap."""
    flags: bool = False
    """Show the VmFlags of proc_pid_smaps(5); that takes a walk through all page tables."""

    @model_validator(mode="after")
    def _check_one(self) -> MapsQuery:
        if self.address is not None and "first" in self.model_fields_set:
            raise ValueError("`address` asks for one mapping, `from` for a list: give one of them")
        return self

    def parsed_address(self) -> int | None:
        """The address as a number."""
        return None if self.address is None else address_of(self.address)

    def spec(self) -> MapsSpec:
        """Cross over to the service's value."""
        return MapsSpec(address_of(self.first), self.mode, self.residency, self.flags)


class FileQuery(Wire):
    """Parameters of the file behind a mapping."""

    address: Address
    """Any address of the mapping."""
    generation: Generation | None = None
    """The program that is meant: 409 `target-changed` if another one is executed by now."""

    def parsed_address(self) -> int:
        """The address as a number."""
        return address_of(self.address)


class CoreQuery(Wire):
    """Parameters of a core."""

    mode: Mode = Mode.NOWAIT
    """`nowait`: what would have to be waited for is left out. `wait`: page faults are resolved."""
    filter: Annotated[int, Field(ge=0, le=0x7F)] = 0x33
    """Which mappings are in it: the bits of /proc/PID/coredump_filter, core(5)."""
    consistent: Annotated[int, Field(ge=2, le=MOST_READINGS)] | None = None
    """Read each stack again until two readings are equal, so often at most."""
    generation: Generation | None = None
    """The program that is meant: 409 `target-changed` if another one is executed by now."""


class ThreadsQuery(Wire):
    """Parameters of the list of threads."""

    first: From = 0
    """Begin with this thread id, or the next one above it."""


class MemoryQuery(Wire):
    """Parameters of a range of memory; without ``gaps`` it ends at the first."""

    mode: Mode = Mode.WAIT
    """`wait`: page faults are resolved. `nowait`: what would have to be waited for is a gap."""
    gaps: Literal["zero"] | None = None
    """`zero`: places that have no bytes are zeros, instead of the end; at most 64 GiB then."""
    generation: Generation | None = None
    """The program that is meant: 409 `target-changed` if another one is executed by now."""


class EventsQuery(Wire):
    """Parameters of the stream of events."""

    target: TargetId | None = None
    """Events of this target alone."""


Q = TypeVar("Q", bound=Wire)


def parse_query(model: type[Q], text: str, pairs: Callable[[], Iterable[tuple[str, str]]]) -> Q:
    """Read a query string; a parameter that is given twice is ``InvalidRequest``.

    ``pairs`` gives ``text`` in parts, and is only called if there are any.
    """
    if not text:
        return cast("Q", _without_parameters(model))
    values: dict[str, str] = {}
    for name, value in pairs():
        if name in values:
            raise InvalidRequest("the parameter is given twice: give it once", (name,))
        values[name] = value
    return model.model_validate_strings(values)


@cache
def _without_parameters(model: type[Wire]) -> Wire:
    return model()


def parse_event_number(text: str | None) -> int | None:
    """Read ``Last-Event-ID``; ``None`` or an empty one says nothing."""
    if not text:
        return None
    if not (text.isascii() and text.isdigit()) or len(text) > len(str(ADDRESS_LIMIT)):
        raise InvalidRequest("it is a number from an `id:` line of this stream", ("Last-Event-ID",))
    return int(text)
