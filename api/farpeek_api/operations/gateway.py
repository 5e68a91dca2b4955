"""What can be asked of the gateway of a fleet itself; all else it passes on to a node."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from farpeek_api.http import fleet_shapes
from farpeek_api.operations import service
from farpeek_api.operations.kinds import ASKED, LOADED, NEGOTIATED, PARSED
from farpeek_api.operations.operation import Answer, Body, Operation

FLEET: Final = "fleet"
GATEWAY: Final = "gateway"

_ADMITTED: Final = (*ASKED, "unauthenticated", "forbidden", "shutting-down")
_REACHED: Final = ("broker-unreachable",)
"""The broker is asked."""
_OF_NODE: Final = (
    *_REACHED,
    *("unknown-node", "node-offline", "service-unreachable", "transfer-broken", "deadline"),
    *("unknown-operation", "invalid", "not-acceptable", "audit-unavailable", "too-late"),
    *("answer-too-large", "no-credit", "not-after-required"),
)
"""A node is asked: what may stand against it on the way, and what its service answers."""

LIST: Final = Operation(
    id="list_nodes",
    method="GET",
    path="/v1/nodes",
    verb=None,
    group=FLEET,
    summary="The nodes: those that are there, and those that were",
    text="Those that were are known where the broker has JetStream.",
    query=fleet_shapes.WhichNodes,
    answers=[Answer(status=200, text="The nodes, by their names.", model=fleet_shapes.Nodes)],
    problems=(*_ADMITTED, *_REACHED),
)
ASK: Final = Operation(
    id="ask_nodes",
    method="POST",
    path="/v1/fleet/{operation}",
    verb=None,
    group=FLEET,
    summary="One request to many nodes",
    text="`operation` is an `operationId` of a node's document, and the policy has to grant the "
    "verb of that. Body, `Accept` and further parameters are those of the operation. What changes "
    "something or has no end is asked of one node.",
    query=fleet_shapes.WhichNodes,
    headers=["Farpeek-Target"],
    body=Body(Any, is_required=False),
    answers=[
        Answer(
            status=200,
            text="A line for each node that answers, as that comes (`NodeLine`), and one of all "
            "(`AllLine`), in which each node is named.",
            others={"application/x-ndjson": "Lines of JSON."},
        )
    ],
    problems=(
        *_ADMITTED,
        *_REACHED,
        *("unknown-operation", "answer-too-large", "not-after-required", "slow-request"),
    ),
)
NODE_DOCUMENT: Final = Operation(
    id="node_openapi",
    method="GET",
    path="/v1/nodes/{node}/openapi.json",
    verb=None,
    group=FLEET,
    summary="What a node can be asked for",
    text="The OpenAPI document of its service. Each path of it is served here behind "
    "`/v1/nodes/{node}`, with the same methods, parameters, bodies and answers.",
    answers=[Answer(status=200, text="The document.", others={"application/json": "OpenAPI 3.1."})],
    problems=(*_ADMITTED, *_OF_NODE),
)


def _here(operation: Operation, *problems: str) -> Operation:
    """Give an operation of the service that the gateway has of its own."""
    return replace(operation, group=GATEWAY, problems=problems)


OPERATIONS: Final[tuple[Operation, ...]] = (
    LIST,
    ASK,
    NODE_DOCUMENT,
    _here(service.LIVE, *ASKED),
    replace(_here(service.READY, *ASKED, "shutting-down"), answers=service.LIVE.answers),
    _here(service.METRICS, *_ADMITTED, *PARSED),
    _here(service.OPENAPI, *_ADMITTED, *PARSED, *NEGOTIATED),
    _here(service.DOCS, *_ADMITTED, *PARSED, *NEGOTIATED),
    _here(service.DOCS_FILE, *_ADMITTED, *PARSED, "not-found"),
    replace(
        _here(service.PAGE, *LOADED, *PARSED, *NEGOTIATED),
        summary="A page that lists the nodes",
    ),
    _here(service.PAGE_FILE, *LOADED, *PARSED, "not-found"),
)
PAGES: Final = (service.PAGE.id, service.PAGE_FILE.id)
"""What `--no-ui` leaves out."""
