"""What comes of one node among many, and what is known of it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, cast

from farpeek_api.bus.problems import BROKEN, LOST, NOBODY
from farpeek_api.bus.roster import OFFLINE
from farpeek_api.client.members import mapping
from farpeek_api.client.nodes import unreached
from farpeek_api.client.problems import BadAnswer, Interrupted, PeekError, Unreachable, problem_of
from farpeek_api.client.steps import Reply as HttpReply

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from farpeek_api.bus.problems import Refusal
    from farpeek_api.bus.replies import How, Reply
    from farpeek_api.bus.roster import Heartbeat
    from farpeek_api.client.steps import Call

T = TypeVar("T")

JSON: Final = "application/json"


@dataclass(frozen=True, slots=True)
class NodeAnswer(Generic[T]):
    """What has come of one node: a ``value``, or a ``problem``.

    ``how`` is ``answered``, ``refused``, or ``silent`` where nothing whole has come.
    """

    node: str
    how: How
    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    value: T | None
    problem: PeekError | None


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """A node. ``about`` is what it says of itself.

    ``state`` is ``up``, ``silent``, ``offline``, or ``unknown`` where there is none of that name.
    ``last_seen`` is when the broker had its latest heartbeat, where that is kept.
    """

    name: str
    state: str
    last_seen: datetime | None
    about: Mapping[str, Any]

    @property
    def labels(self) -> Mapping[str, str]:
        """Its labels."""
        found = self.about.get("labels")
        return cast("Mapping[str, str]", found) if isinstance(found, dict) else {}

    def text(self, name: str) -> str:
        """Give what it says of ``version``, ``kernel``, ``architecture`` or ``host``."""
        found = self.about.get(name)
        return found if isinstance(found, str) else ""


def content(reply: Reply) -> Any:  # noqa: ANN401 - JSON
    """Give JSON where it is that, and else bytes."""
    kind = reply.headers.get("content-type", "").partition(";")[0].strip()
    if kind != JSON:
        return reply.body
    try:
        return json.loads(reply.body)
    except ValueError:
        raise BadAnswer(f"the answer of node {reply.node} is no JSON") from None


def parsed(call: Call[T], reply: Reply) -> T:
    """Have a call of one request read a reply to it."""
    try:
        next(call)
        call.send(HttpReply(reply.status, reply.headers, reply.body))
    except StopIteration as end:
        return cast("T", end.value)
    raise RuntimeError("a call of one request has asked for more")


def answer_of(reply: Reply, parse: Callable[[Reply], T]) -> NodeAnswer[T]:
    """Read a reply; what it cannot be read as is a problem, too."""
    value: T | None = None
    problem: PeekError | None = None
    how = reply.how
    try:
        if how == "answered":
            value = parse(reply)
        elif reply.refusal is not None:
            problem = error_of(reply.refusal)
        else:
            problem = problem_of(_json(reply.body))
    except PeekError as error:
        problem, how = error, "refused"
    return NodeAnswer(reply.node, how, reply.status, reply.headers, reply.body, value, problem)


def _json(text: bytes) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return None


def error_of(refusal: Refusal) -> PeekError:
    """Make the exception of a refusal that is the broker's, an agent's, or our own."""
    if refusal.kind in (NOBODY, OFFLINE):
        return unreached(refusal)
    if refusal.kind in (LOST, BROKEN):
        return Interrupted(str(refusal))
    return problem_of(json.loads(refusal.document("")))


def node_of(answer: NodeAnswer[Any], heartbeats: Mapping[str, Heartbeat]) -> NodeInfo:
    """Say what is known of a node, by its answer to a roll call and its latest heartbeat."""
    heartbeat = heartbeats.get(answer.node)
    state = {"answered": "up"}.get(answer.how, "silent")
    if isinstance(answer.problem, Unreachable):
        state = "offline" if heartbeat is not None else "unknown"
    about: Mapping[str, Any] = heartbeat.about if heartbeat is not None else {}
    about = {**about, **(mapping(cast("object", answer.value)) or {})}
    return NodeInfo(answer.node, state, None if heartbeat is None else heartbeat.at, about)
