"""What the service says of itself."""

from __future__ import annotations

from typing import Final

from farpeek_api.http import queries, service_shapes
from farpeek_api.operations import examples
from farpeek_api.operations.kinds import ADMITTED, ASKED, LISTED, LOADED, NEGOTIATED, PARSED
from farpeek_api.operations.operation import Answer, Entrance, Operation
from farpeek_api.policy.verbs import Verb

_GROUP: Final = "service"
_SAME: Final = Answer(status=304, text="The file is that of `If-None-Match`.", headers=["ETag"])

LIVE: Final = Operation(
    id="live",
    method="GET",
    path="/livez",
    verb=None,
    group=_GROUP,
    summary="Whether the service lives",
    text="For probes. Needs no credentials, takes any `Host`, and tells nothing else.",
    answers=[Answer(status=200, text="The event loop turns.", model=service_shapes.Alive)],
    problems=ASKED,
    entrance=Entrance.OPEN,
    examples=[examples.LIVE],
)
READY: Final = Operation(
    id="ready",
    method="GET",
    path="/readyz",
    verb=None,
    group=_GROUP,
    summary="Whether the service takes requests",
    text="For probes. Needs no credentials, takes any `Host`, and tells nothing else.",
    answers=[Answer(status=200, text="It does.", model=service_shapes.Ready)],
    problems=(*ASKED, "shutting-down"),
    entrance=Entrance.OPEN,
    examples=[examples.READY],
)
METRICS: Final = Operation(
    id="metrics",
    method="GET",
    path="/metrics",
    verb=Verb.METRICS,
    group=_GROUP,
    summary="What the service counts of itself",
    text="For Prometheus. No label holds a pid, an address, a path or an id.",
    answers=[
        Answer(
            status=200,
            text="As text; as OpenMetrics where `Accept` asks for that.",
            others={
                "text/plain": "Prometheus's text format, 0.0.4.",
                "application/openmetrics-text": "OpenMetrics 1.0.0.",
            },
        )
    ],
    problems=(*ADMITTED, *PARSED),
)
INFO: Final = Operation(
    id="info",
    method="GET",
    path="/v1/info",
    verb=Verb.INSPECT,
    group=_GROUP,
    summary="What the service can do here, its bounds, and how it is doing",
    text="`capabilities` says what this kernel and these privileges allow, and how it is done.",
    answers=[Answer(status=200, text="How things stand.", model=service_shapes.Info)],
    problems=(*ADMITTED, *PARSED, *NEGOTIATED),
)
DOCTOR: Final = Operation(
    id="doctor",
    verb=Verb.INSPECT,
    method="GET",
    path="/v1/doctor",
    group=_GROUP,
    summary="What decides about access here, found out by trying",
    text="Kernel, seccomp, Yama, capabilities, namespaces, /proc, security modules, limits; a "
    "child of the service's own is read, and the process `pid`. Each finding has its cure.",
    query=queries.DoctorQuery,
    answers=[Answer(status=200, text="The findings.", model=service_shapes.Examination)],
    problems=(*ADMITTED, *PARSED, *NEGOTIATED, *LISTED),
)
OPENAPI: Final = Operation(
    id="openapi",
    method="GET",
    path="/openapi.json",
    verb=None,
    group=_GROUP,
    summary="This document",
    text="OpenAPI 3.1.",
    answers=[Answer(status=200, text="The document.", others={"application/json": "OpenAPI 3.1."})],
    problems=(*ADMITTED, *PARSED, *NEGOTIATED),
)
DOCS: Final = Operation(
    id="docs",
    method="GET",
    path="/docs",
    verb=None,
    group=_GROUP,
    summary="This document as a page to try it out",
    text="Loads nothing from anywhere else.",
    answers=[
        Answer(
            status=200,
            text="The page.",
            others={"text/html": "HTML."},
            headers=["Content-Security-Policy"],
        )
    ],
    problems=(*ADMITTED, *PARSED, *NEGOTIATED),
)
DOCS_FILE: Final = Operation(
    id="docs_file",
    method="GET",
    path="/docs/{name}",
    verb=None,
    group=_GROUP,
    summary="What that page loads",
    text="Its scripts and its style sheet.",
    answers=[
        Answer(
            status=200,
            text="The file.",
            others={"text/javascript": "A script.", "text/css": "The style sheet."},
            headers=["Content-Encoding"],
        )
    ],
    problems=(*ADMITTED, *PARSED, "not-found"),
)
PAGE: Final = Operation(
    id="page",
    method="GET",
    path="/",
    verb=None,
    group=_GROUP,
    summary="A page that shows the memory of processes",
    text="Needs no credentials, for it holds nothing: what it shows it asks for as any client "
    "does. Loads nothing from anywhere else. `--no-ui` leaves it out.",
    headers=["If-None-Match"],
    answers=[
        Answer(
            status=200,
            text="The page.",
            others={"text/html": "HTML."},
            headers=["Content-Security-Policy", "ETag"],
        ),
        _SAME,
    ],
    problems=(*LOADED, *PARSED, *NEGOTIATED),
    entrance=Entrance.PUBLIC,
)
PAGE_FILE: Final = Operation(
    id="page_file",
    method="GET",
    path="/ui/{name}",
    verb=None,
    group=_GROUP,
    summary="What that page loads",
    text="Its scripts, its style sheets and its pictures. Needs no credentials, either.",
    headers=["If-None-Match"],
    answers=[
        Answer(
            status=200,
            text="The file.",
            others={
                "text/javascript": "A script.",
                "text/css": "A style sheet.",
                "image/svg+xml": "A picture.",
            },
            headers=["Content-Encoding", "ETag"],
        ),
        _SAME,
    ],
    problems=(*LOADED, *PARSED, "not-found"),
    entrance=Entrance.PUBLIC,
)
