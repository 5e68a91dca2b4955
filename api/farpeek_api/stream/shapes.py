"""The shapes of a stream's frames, as the OpenAPI document shows them (``http.memory_shapes``)."""

from __future__ import annotations

from typing import Literal

from typing_extensions import TypedDict

from farpeek_api.http.memory_shapes import ReadHead
from farpeek_api.http.plan_shapes import PlanHead
from farpeek_api.http.problem_shapes import AnyProblem  # noqa: TC001
from farpeek_api.http.values import Time  # noqa: TC001
from farpeek_api.stream.messages import Kind  # noqa: TC001


class StreamReadHead(ReadHead):
    """The answer of a read; its bytes follow."""

    id: int


class StreamPlanHead(PlanHead):
    """The answer of a plan; its columns follow."""

    id: int


class DroppedBy(TypedDict):
    """Why ticks were lost."""

    client: int
    """It did not take its frames."""
    target: int
    """A read was still under way."""
    service: int
    """It came late, or was busy."""


class _Tick(TypedDict):
    tick: int
    """Its number, from 1; lost ones are counted."""
    scheduled: Time
    """When it should have been read."""
    at: Time
    """When it was."""
    dropped: int
    """Ticks lost since the last frame."""
    dropped_by: DroppedBy


class Tick(StreamReadHead, _Tick):
    """A tick of a subscription; its bytes follow."""


class PlanTick(StreamPlanHead, _Tick):
    """A tick of a subscription to a plan; its columns follow."""


class Subscribed(TypedDict):
    """A subscription has begun."""

    id: int
    subscribed: Literal[True]
    hz: float


class Ended(TypedDict):
    """A subscription is over."""

    id: int
    ended: str
    """`unsubscribed`, or the slug of the problem that ended it."""


class Left(TypedDict):
    """One target of a subscription to a standing match is sampled no more."""

    id: int
    target: str
    left: str
    """The slug of the problem."""


class StreamProblem(TypedDict):
    """What is wrong with a message, or stands against it."""

    id: int | None
    """Null where it cannot be read."""
    of: Kind
    """What the message asked for."""
    problem: AnyProblem
