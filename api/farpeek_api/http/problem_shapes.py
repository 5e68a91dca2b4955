"""What problem documents hold, as the OpenAPI document shows them: RFC 9457, and more for some."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal, NotRequired

from pydantic import WithJsonSchema
from typing_extensions import TypedDict

from farpeek.model import Gate, Stage  # noqa: TC001
from farpeek_api.http.memory_shapes import Difference, Gap, ReadResult  # noqa: TC001
from farpeek_api.http.target_shapes import Process, Target  # noqa: TC001
from farpeek_api.http.values import Time  # noqa: TC001

COMPONENT: Final = "x-component"
"""In a schema: the name of the component that is meant, where no Python type is it."""

ANY_PROBLEM: Final = "Problem"

AnyProblem = Annotated[Mapping[str, Any], WithJsonSchema({COMPONENT: ANY_PROBLEM})]


class PlainProblem(TypedDict):
    """What went wrong."""

    type: str
    """Which problem it is."""
    title: str
    """The same for a reader."""
    status: int
    detail: str
    """What is wrong with this request, or stands against it, and mostly the cure."""
    request_id: NotRequired[str]
    """As `X-Request-Id`."""
    retryable: NotRequired[bool]
    """The same request may succeed a moment later."""


class TargetProblem(PlainProblem):
    """What went wrong; with the target where the request names one."""

    target: NotRequired[str]


class Mistake(TypedDict):
    """Something in a request that does not fit."""

    place: str
    """Where: `addresses[3]`; empty for the request as a whole."""
    cause: str


class Readings(TypedDict):
    """Whom a process number would mean."""

    caller: Process | None
    """In the caller's pid namespace."""
    service: Process | None
    """In the service's."""


class InvalidProblem(TargetProblem):
    """The request does not fit."""

    errors: NotRequired[Sequence[Mistake]]
    """The first of them, 20 at most."""
    readings: NotRequired[Readings]
    """Of a bare `pid` of a caller in another pid namespace."""


class MalformedProblem(TargetProblem):
    """The request cannot be read."""

    hint: NotRequired[str]
    """What to send instead."""


class AccessDeniedProblem(TargetProblem):
    """The kernel refuses access."""

    errno: str
    gate: Gate
    """The check that refused."""
    hint: str
    """The cure."""


class ForbiddenProblem(TargetProblem):
    """It is not allowed."""

    verb: NotRequired[str]
    """What the policy would have to grant."""
    rule: NotRequired[str]
    """Where the policy says what it does: `clients.profiler.verbs, line 4`."""
    gate: NotRequired[Literal["opt-out"]]
    """The process does not want to be read: `FARPEEK_DENY=1` is in its environment, or
    `PYTHON_DISABLE_REMOTE_DEBUG`."""


class InternalProblem(TargetProblem):
    """Nobody foresaw it."""

    errno: NotRequired[str]


class RangeUnreadableProblem(TargetProblem):
    """The first byte of the range cannot be read."""

    gap: Gap


class ExpectationFailedProblem(TargetProblem):
    """Nothing was written."""

    difference: Difference


class TargetChangedProblem(TargetProblem):
    """Another program is executed."""

    generation: int
    """The number of the one that is."""


class AlreadyTracedProblem(TargetProblem):
    """A debugger has the target."""

    tracer_pid: int | None
    """Null where it cannot be seen from here."""


class AmbiguousProblem(TargetProblem):
    """Several processes fit."""

    candidates: Sequence[Process]
    """The first of them, 64 at most."""
    count: int


class DeadlineProblem(TargetProblem):
    """The time is over; the target's thread may still hang."""

    stage: Stage
    """What was under way."""
    since: NotRequired[Time]


class TargetExitedProblem(PlainProblem):
    """It has exited, and its memory is gone."""

    target: NotRequired[Target | str]
    """With `exit`, how it ended; the id alone where it is no target any more."""


WITH_MEMBERS: Final[Mapping[str, type]] = {
    "access-denied": AccessDeniedProblem,
    "already-traced": AlreadyTracedProblem,
    "ambiguous": AmbiguousProblem,
    "deadline": DeadlineProblem,
    "expectation-failed": ExpectationFailedProblem,
    "forbidden": ForbiddenProblem,
    "internal": InternalProblem,
    "invalid": InvalidProblem,
    "malformed": MalformedProblem,
    "range-unreadable": RangeUnreadableProblem,
    "target-changed": TargetChangedProblem,
    "target-exited": TargetExitedProblem,
}
"""Of the problems that have more than `TargetProblem`, by their slugs."""


class RefusedProcess(TypedDict):
    """A process that fits, and could not be registered."""

    pid: int
    problem: AnyProblem


class RegisteredAll(TypedDict):
    """What came of a registration of all that fit."""

    targets: Sequence[Target]
    refused: Sequence[RefusedProcess]


class FailedRead(TypedDict):
    """What stands against one read of many."""

    problem: AnyProblem


class ManyReads(TypedDict):
    """What came of each read, in the order of the request."""

    results: Sequence[ReadResult | FailedRead]
