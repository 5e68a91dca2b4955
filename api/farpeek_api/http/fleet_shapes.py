"""What the gateway of a fleet is asked for, and what it answers itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence  # noqa: TC003 - pydantic reads them
from typing import Annotated, Any, Final, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from farpeek_api.http.problem_shapes import AnyProblem, Mistake, PlainProblem
from farpeek_api.http.schema import Wire


class WhichNodes(Wire):
    """Parameters that say who is asked, and how long; without, all are."""

    label: Annotated[str | None, Field(pattern="^[^=]+=[^=]+$")] = None
    """`KEY=VALUE`: the nodes with that label. Not together with `node`."""
    node: Sequence[str] = ()
    """Names of nodes, each as a parameter of its own."""
    timeout_s: Annotated[float, Field(ge=0)] = 10.0
    """How long an answer may take; at most 300."""


class Node(TypedDict):
    """A node, as it says of itself."""

    node: str
    """Its name."""
    connected: bool
    version: NotRequired[str]
    """Of its agent."""
    kernel: NotRequired[str]
    architecture: NotRequired[str]
    host: NotRequired[str]
    labels: NotRequired[Mapping[str, str]]
    began_ns: NotRequired[int]
    """When its agent was started, in ns since 1970."""
    problem: NotRequired[AnyProblem]
    """Why it says nothing."""


class Nodes(TypedDict):
    """All of them, by their names."""

    nodes: Sequence[Node]


class NodeLine(TypedDict):
    """The answer of one node, as a line."""

    node: str
    status: int
    """As of HTTP."""
    body: Any
    """What is JSON as such, other text as a string, and all else in base64."""


class AllLine(TypedDict):
    """The last line: what has come of all."""

    answered: Sequence[str]
    silent: Sequence[str]
    """Nodes that have not answered in time."""
    refused: Sequence[str]
    """Nodes that have answered with a problem."""
    problem: NotRequired[AnyProblem]
    """Why asking ended early."""


class NodeProblem(PlainProblem):
    """What went wrong: here, or at a node."""

    node: NotRequired[str]
    """Whose it is, or who could not be reached; without, it is the gateway's own."""


class NodeForbidden(NodeProblem):
    """It is not allowed."""

    verb: NotRequired[str]
    """What the policy would have to grant."""
    rule: NotRequired[str]
    """Where the policy says what it does."""


class NodeInvalid(NodeProblem):
    """The request does not fit."""

    errors: NotRequired[Sequence[Mistake]]
    """The first of them, 20 at most."""


WITH_MEMBERS: Final[Mapping[str, type]] = {"forbidden": NodeForbidden, "invalid": NodeInvalid}
"""Of the problems that have more than `NodeProblem`, by their slugs."""
