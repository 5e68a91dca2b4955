"""Messages of the stream: wire models, as in ``schema``, and what can be said of a broken one."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Final, Literal, Self, cast

from pydantic import Field, model_validator
from pydantic_core import from_json

from farpeek.model import ADDRESS_LIMIT, Mode, ReadSpec
from farpeek_api.http import memory_bodies, plan_bodies, plan_specs, schema
from farpeek_api.http.memory_bodies import ReadRequest
from farpeek_api.http.plan_bodies import Plan  # noqa: TC001 - pydantic looks at it
from farpeek_api.http.schema import LONGEST_TARGET, Columns, Generation, TargetId, Wire
from farpeek_api.policy.verbs import Verb
from farpeek_api.serving.limits import HIGHEST_HZ
from farpeek_api.stream.samples import PlanSample, ReadSample

if TYPE_CHECKING:
    from collections.abc import Mapping

Kind = Literal["read", "plan", "subscribe", "unsubscribe"]
"""What a message asks for."""

_LOWEST_ID = -(2**63)
_ID: Final = re.compile(rb'"id"\s{0,8}:\s{0,8}(-?[0-9]{1,20})[\s,}]')
_MessageId = Annotated[int, Field(ge=_LOWEST_ID, lt=ADDRESS_LIMIT)]


class StreamRead(ReadRequest):
    """A read, which is answered under its id."""

    id: _MessageId
    """Yours; not used again before its answer has come."""
    target: TargetId
    """The id of a target."""

    def sample(self) -> ReadSample:
        """Cross over to the service's value."""
        return ReadSample(self.spec(), self.timeout_s, shows_data=self.encoding != "none")


class StreamPlan(Wire):
    """A plan, which is answered under its id."""

    id: _MessageId
    """Yours; not used again before its answer has come."""
    target: TargetId
    """The id of a target."""
    plan: Plan
    """What is read, and what that leads to."""
    mode: Mode = Mode.WAIT
    """`wait`: page faults are resolved. `nowait`: what would have to be waited for is a gap."""
    generation: Generation | None = None
    """The program that is meant."""

    def sample(self) -> PlanSample:
        """Cross over to the service's value."""
        return PlanSample(plan_specs.spec_of(self.plan, self.mode, self.generation))


class _Sampling(Wire):
    target: TargetId | None = None
    """The id of a target; or give `match`."""
    match: TargetId | None = None
    """The id of a standing match: all of its targets."""
    mode: Mode = Mode.WAIT
    """`wait`: page faults are resolved. `nowait`: what would have to be waited for is a gap."""
    hz: Annotated[float, Field(gt=0, le=HIGHEST_HZ, allow_inf_nan=False)]
    """Ticks a second."""
    changed_only: bool = False
    """Send a frame only where bytes or gaps differ from those last sent."""
    generation: Generation | None = None
    """The program that is meant; the subscription ends with it."""

    @model_validator(mode="after")
    def _check_target(self) -> Self:
        if (self.target is None) == (self.match is None):
            raise ValueError("give either `target` or `match`, and not both")
        if self.match is not None and self.generation is not None:
            raise ValueError("`generation` is that of one target: leave it out with `match`")
        return self


class Sampling(_Sampling, Columns):
    """What is read again and again, and how often."""

    prefetch: bool = False
    """Of `nowait`: have what was missing read in, for a later tick."""

    @model_validator(mode="after")
    def _check_prefetch(self) -> Self:
        memory_bodies.check_prefetch(self.mode, prefetch=self.prefetch)
        return self

    def sample(self) -> ReadSample:
        """Cross over to the service's value."""
        return ReadSample(
            ReadSpec(self.regions(), self.mode, prefetch=self.prefetch, generation=self.generation)
        )


class PlanSampling(_Sampling):
    """A plan that is done again and again, and how often."""

    plan: Plan
    """What is read, and what that leads to."""

    def sample(self) -> PlanSample:
        """Cross over to the service's value."""
        return PlanSample(plan_specs.spec_of(self.plan, self.mode, self.generation))


class Subscribe(Wire):
    """Begin to sample."""

    id: _MessageId
    """Yours; not used again before its end."""
    subscribe: Sampling
    """What, and how often."""


class SubscribePlan(Wire):
    """Begin to sample by a plan."""

    id: _MessageId
    """Yours; not used again before its end."""
    subscribe: PlanSampling
    """What, and how often."""


class Unsubscribe(Wire):
    """Sample no more."""

    unsubscribe: _MessageId
    """The id of the subscription."""


VERBS: Final[Mapping[type, Verb | None]] = {
    StreamRead: Verb.READ,
    StreamPlan: Verb.READ,
    Subscribe: Verb.READ,
    SubscribePlan: Verb.READ,
    Unsubscribe: None,
}
"""What a policy has to grant for each message; None: whoever has a stream may send it."""


VERBS_OF_KINDS: Final[Mapping[Kind, Verb | None]] = {
    "read": VERBS[StreamRead],
    "plan": VERBS[StreamPlan],
    "subscribe": VERBS[Subscribe],
    "unsubscribe": VERBS[Unsubscribe],
}
"""The same for a message that could not be read."""


Message = StreamRead | StreamPlan | Subscribe | SubscribePlan | Unsubscribe


def parse(text: bytes, max_regions: int) -> Message:
    """Read a message; ``ValidationError`` or ``TooLarge`` for what is none."""
    if b'subscribe"' not in text and b'"plan"' not in text:
        memory_bodies.check_columns(text, max_regions)
        return StreamRead.model_validate_json(text)
    plan_bodies.check_size(text)
    members = _members(text)
    if "unsubscribe" in members:
        return Unsubscribe.model_validate_json(text)
    sampling = members.get("subscribe")
    if isinstance(sampling, dict) and "plan" in sampling:
        return SubscribePlan.model_validate_json(text)
    if "plan" in members:
        return StreamPlan.model_validate_json(text)
    memory_bodies.check_columns(text, max_regions)
    if "subscribe" in members:
        return Subscribe.model_validate_json(text)
    return StreamRead.model_validate_json(text)


def origin(text: bytes) -> tuple[int | None, str | None, Kind]:
    """Find whose message it is, about which target, and of which kind, as far as it can be read.

    A large one is not parsed for that: it may have been refused for being so.
    """
    if len(text) > schema.LARGEST_UNCOUNTED:
        return _number_in(text), None, "subscribe" if b'"subscribe"' in text else "read"
    members = _members(text)
    number = members.get("id", members.get("unsubscribe"))
    sampling = members.get("subscribe")
    nested = cast("dict[str, object]", sampling) if isinstance(sampling, dict) else members
    target = nested.get("target")
    return (
        number if type(number) is int and _LOWEST_ID <= number < ADDRESS_LIMIT else None,
        target if isinstance(target, str) and len(target) <= LONGEST_TARGET else None,
        _kind(members),
    )


def _kind(members: dict[str, object]) -> Kind:
    if "subscribe" in members:
        return "subscribe"
    if "unsubscribe" in members:
        return "unsubscribe"
    return "plan" if "plan" in members else "read"


def _number_in(text: bytes) -> int | None:
    """Find the ``id`` of a message without reading the rest; inside of a text its quotes differ."""
    found = _ID.search(text)
    number = None if found is None else int(found[1])
    return number if number is not None and _LOWEST_ID <= number < ADDRESS_LIMIT else None


def _members(text: bytes) -> dict[str, object]:
    try:
        value = from_json(text)
    except ValueError:
        return {}
    return cast("dict[str, object]", value) if isinstance(value, dict) else {}
