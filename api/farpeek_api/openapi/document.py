"""The OpenAPI document: the table of operations, with the schemas of their models."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from pydantic_core import to_json

import farpeek
from farpeek_api.http import memory_shapes, plan_shapes, problems, target_shapes
from farpeek_api.http.problem_shapes import WITH_MEMBERS, TargetProblem
from farpeek_api.openapi.refusals import Refusals, answered_headers, header
from farpeek_api.openapi.schemas import ref, schemas
from farpeek_api.operations import OPERATIONS, headers
from farpeek_api.operations.operation import Entrance
from farpeek_api.stream import messages
from farpeek_api.stream import shapes as stream_shapes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from farpeek_api.openapi.schemas import Schema, Schemas
    from farpeek_api.operations.operation import Answer, Operation

VERSION: Final = "3.1.0"
_JSON: Final = "application/json"
_NOT_AFTER: Final = "Farpeek-Not-After"
_REQUEST_ID: Final = "X-Request-Id"

_ABOUT: Final = """\
Reads the memory of other processes on the same Linux host, never stops them, and never answers with
the bytes of a process that merely got the same number.

- **Addresses** come in as strings like `"0x7f00deadb000"` or as integers below 2^64, and go out as
  strings.
- **Bytes** in JSON are base64 (RFC 4648, section 4), or hex where that is asked for.
- **A partial read is a result**: what was not read is listed in `gaps`. Errors are problems
  (RFC 9457).
- Members of requests that are not known are refused. Ignore those of answers that you do not know.
- HEAD is answered wherever GET is, but for `/v1/events` and `/v1/stream`.
- With a policy, `Farpeek-On-Behalf-Of: NAME` asks for the rules and rates of another client; 403
  for whoever may not speak for it.
"""

_GROUPS: Final = {
    "memory": "Reading and writing",
    "targets": "Processes that are held",
    "standing matches": "Holding whatever fits, now and later",
    "following": "What goes on for as long as you like",
    "service": "The service itself",
}

_CREDENTIALS: Final = {
    "token": {
        "type": "http",
        "scheme": "bearer",
        "description": "Needed by TCP. On a unix socket root and the service's own user need none; "
        "a token that is sent is judged all the same.",
    }
}

# In frames, events and pieces, whose media types have no schema that could refer to them.
_EMBEDDED: Final = (
    memory_shapes.ReadHead,
    plan_shapes.PlanHead,
    memory_shapes.PieceHead,
    memory_shapes.PiecesEnd,
    memory_shapes.SearchLine,
    target_shapes.TargetEvent,
    target_shapes.LostEvents,
)
_SAID_IN_STREAMS: Final = {
    "StreamMessage": tuple(messages.VERBS),
    "StreamAnswer": (
        stream_shapes.StreamReadHead,
        stream_shapes.StreamPlanHead,
        stream_shapes.Tick,
        stream_shapes.PlanTick,
        stream_shapes.Subscribed,
        stream_shapes.Ended,
        stream_shapes.Left,
        stream_shapes.StreamProblem,
    ),
}


@dataclass(frozen=True, slots=True)
class Subject:
    """What a document is about, besides operations."""

    title: str
    about: str
    groups: Mapping[str, str]
    embedded: Sequence[type]
    """In frames, events, lines and pieces, whose media types have no schema to refer to them."""
    said: Mapping[str, Sequence[type]]
    """Components of which each is one of several."""
    refusals: Refusals
    has_deadlines: bool
    """Whether requests may say by when they are to be begun."""


SERVICE: Final = Subject(
    "farpeek",
    _ABOUT,
    _GROUPS,
    _EMBEDDED,
    _SAID_IN_STREAMS,
    Refusals(problems.rows(), WITH_MEMBERS, TargetProblem),
    has_deadlines=True,
)


@cache
def text() -> bytes:
    """Write the document of all that a service has."""
    return write(OPERATIONS)


def write(offered: Sequence[Operation], subject: Subject = SERVICE) -> bytes:
    """Write the document of what is offered; it takes a tenth of a second."""
    return to_json(document(offered, subject), indent=1) + b"\n"


def document(offered: Sequence[Operation], subject: Subject) -> dict[str, Any]:
    """Make the document of what is offered."""
    made = schemas(_types(offered, subject))
    refusals = subject.refusals
    paths: dict[str, dict[str, Any]] = {}
    for operation in offered:
        shown = _operation(operation, made, subject)
        paths.setdefault(operation.path, {})[operation.method.lower()] = shown
    # Parameters are listed one by one, and problems by their slugs.
    inline = {each.__name__ for each in (*(each.query for each in offered), *refusals.models)}
    components = {name: each for name, each in made.components.items() if name not in inline}
    sent = (_NOT_AFTER, _REQUEST_ID) if subject.has_deadlines else (_REQUEST_ID,)
    return {
        "openapi": VERSION,
        "info": {
            "title": subject.title,
            "version": farpeek.__version__,
            "description": subject.about,
            "license": {"name": "Apache 2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"token": []}, {}],
        "tags": [{"name": name, "description": about} for name, about in subject.groups.items()],
        "paths": paths,
        "components": {
            "schemas": dict(
                sorted({**components, **_said(subject), **refusals.schemas(made)}.items())
            ),
            "responses": refusals.responses(),
            "parameters": {name: _header_parameter(name) for name in sent},
            "headers": {name: header(each) for name, each in headers.ANSWERED.items()},
            "securitySchemes": _CREDENTIALS,
        },
    }


def _types(offered: Sequence[Operation], subject: Subject) -> Iterable[Any]:
    for operation in offered:
        yield operation.query
        if operation.body is not None:
            yield operation.body.model
        yield from (each.model for each in operation.answers if each.model is not None)
    yield from subject.embedded
    for said in subject.said.values():
        yield from said
    yield from subject.refusals.models


def _operation(operation: Operation, made: Schemas, subject: Subject) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "operationId": operation.id,
        "tags": [operation.group],
        "summary": operation.summary,
        "description": operation.text,
        "parameters": [
            *_path_parameters(operation),
            *_query_parameters(operation, made),
            *_header_parameters(operation, subject),
        ],
    }
    if operation.changes:
        shown["x-farpeek-changes"] = True
    if operation.is_endless:
        shown["x-farpeek-endless"] = True
    if operation.entrance is not Entrance.GUARDED:
        shown["security"] = []
    if operation.body is not None:
        taken: dict[str, Any] = {_JSON: {"schema": made.of[operation.body.model]}}
        sent = {each.name: each.body for each in operation.examples if each.body is not None}
        if sent:
            taken[_JSON]["examples"] = _examples(sent)
        taken |= {kind: _raw(kind, about) for kind, about in operation.body.others.items()}
        shown["requestBody"] = {"required": operation.body.is_required, "content": taken}
    shown["responses"] = {
        **{str(each.status): _answer(operation, each, made) for each in operation.answers},
        **subject.refusals.of(operation),
    }
    return shown


def _path_parameters(operation: Operation) -> Iterable[dict[str, Any]]:
    for name in re.findall(r"{(\w+)}", operation.path):
        yield {
            "name": name,
            "in": "path",
            "required": True,
            "description": _IDS.get(operation.path.split("/")[2], "Its name."),
            "schema": {"type": "string", "minLength": 1, "pattern": "^[^/]+$"},
            **_example_of([each.path for each in operation.examples], name),
        }


_IDS: Final = {"targets": "The id of a target.", "matches": "The id of a standing match."}


def _query_parameters(operation: Operation, made: Schemas) -> Iterable[dict[str, Any]]:
    members, required = made.members(operation.query)
    for name, schema in members.items():
        yield {
            "name": name,
            "in": "query",
            "required": name in required,
            "description": schema["description"] + _default(schema.get("default")),
            "schema": _given(schema),
            **_example_of([each.query for each in operation.examples], name),
        }


def _default(value: object) -> str:
    """Tell of a default by words: generated clients send those that the schema has.

    Some parameters exclude others, whatever their values.
    """
    shown = value if isinstance(value, str) else to_json(value).decode()
    return "" if value is None else f" By default `{shown}`."


def _given(schema: Schema) -> Schema:
    """Write what a parameter is where it is given; a query string has no null."""
    shown = {name: each for name, each in schema.items() if name not in ("description", "default")}
    choices = [each for each in shown.pop("anyOf", ()) if each != {"type": "null"}]
    if len(choices) == 1:
        return {**choices[0], **shown}
    return {"anyOf": choices, **shown} if choices else shown


def _header_parameters(operation: Operation, subject: Subject) -> Iterable[dict[str, Any]]:
    for name in operation.headers:
        given = [each.headers for each in operation.examples]
        yield {**_header_parameter(name), **_example_of(given, name)}
    if subject.has_deadlines and operation.entrance is Entrance.GUARDED:
        yield {"$ref": f"#/components/parameters/{_NOT_AFTER}"}
    yield {"$ref": f"#/components/parameters/{_REQUEST_ID}"}


def _header_parameter(name: str) -> dict[str, Any]:
    sent = headers.SENT[name]
    return {"name": sent.name or name, "in": "header", **header(sent)}


def _example_of(given: Iterable[Mapping[str, Any]], name: str) -> dict[str, Any]:
    for each in given:
        if name in each:
            return {"example": each[name]}
    return {}


def _examples(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        re.sub(r"\W+", "-", name): {"summary": name, "value": each} for name, each in values.items()
    }


def _raw(kind: str, about: str) -> dict[str, Any]:
    """Describe what is no JSON of ours."""
    if kind == _JSON:
        return {"schema": {"type": "object", "description": about}}
    if kind.startswith("text/") or kind.endswith("text"):
        return {"schema": {"type": "string", "description": about}}
    return {"schema": {"type": "string", "format": "binary", "description": about}}


def _answer(operation: Operation, answer: Answer, made: Schemas) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "description": answer.text,
        "headers": answered_headers(answer.headers),
    }
    content: dict[str, Any] = {}
    if answer.model is not None:
        content[_JSON] = {"schema": made.of[answer.model]}
        given = {
            each.name: each.answer
            for each in operation.examples
            if each.status == answer.status and each.answer is not None
        }
        if given:
            content[_JSON]["examples"] = _examples(given)
    content |= {kind: _raw(kind, about) for kind, about in answer.others.items()}
    if content:
        shown["content"] = content
    return shown


def _said(subject: Subject) -> dict[str, Schema]:
    return {
        name: {"anyOf": [ref(each.__name__) for each in said]}
        for name, said in subject.said.items()
    }
