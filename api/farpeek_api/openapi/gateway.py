"""The OpenAPI document of a fleet's gateway: its own routes, and where those of nodes are told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from farpeek_api.bus import problems as of_nodes
from farpeek_api.bus import roster
from farpeek_api.http import fleet_shapes, problems
from farpeek_api.http.problems import Row
from farpeek_api.openapi import document
from farpeek_api.openapi.document import Subject
from farpeek_api.openapi.refusals import Refusals
from farpeek_api.operations.gateway import FLEET, GATEWAY, OPERATIONS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from farpeek_api.operations.operation import Operation

_ABOUT: Final = """\
Asks the nodes of a fleet, each of which reads the memory of processes on its host.

- **One node**: `/v1/nodes/{node}`, and behind it each path of the OpenAPI document that its service
  has, which is at `/v1/nodes/{node}/openapi.json`. The same methods, parameters, headers, bodies
  and answers, ranges, events and WebSockets.
- **Many nodes**: `POST /v1/fleet/{operation}`, with an answer as lines of JSON.
- Errors are problems (RFC 9457). One with the member `node` is that node's, or about reaching it.
"""

_GROUPS: Final = {FLEET: "The nodes", GATEWAY: "The gateway itself"}


def _rows() -> Mapping[str, Row]:
    """Give the problems of the gateway and of the way to a node, as far as they are named."""
    kinds = (*of_nodes.KINDS, *of_nodes.ASKING, roster.OFFLINE)
    known = {each.slug: Row(each.status, each.slug, each.title) for each in kinds}
    named = {slug for each in OPERATIONS for slug in each.problems}
    return {slug: row for slug, row in {**known, **problems.rows()}.items() if slug in named}


SUBJECT: Final = Subject(
    "farpeek gateway",
    _ABOUT,
    _GROUPS,
    (fleet_shapes.NodeLine, fleet_shapes.AllLine),
    {},
    Refusals(_rows(), fleet_shapes.WITH_MEMBERS, fleet_shapes.NodeProblem),
    has_deadlines=False,
)


def text(offered: Sequence[Operation] = OPERATIONS) -> bytes:
    """Write the document of what is offered."""
    return document.write(offered, SUBJECT)
