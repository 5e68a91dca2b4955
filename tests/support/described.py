"""What the OpenAPI document says, held against what a service answers."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from jsonschema_rs import Draft202012Validator, ValidationError

from support import pieces
from support.frames import FRAME, take_apart

if TYPE_CHECKING:
    from support.serving import Reply

_JSON = ("application/json", "application/problem+json")
_PIECES = "application/vnd.farpeek.pieces"
_IN_FRAMES = {"readv": "ReadHead", "readv_many": "ManyReads", "plan": "PlanHead"}


class Described:
    """A document. It fails for what it does not describe, to the last member.

    Clients have to ignore members that they do not know; here all of them are known.
    """

    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document
        self._components = {**document["components"]}
        self._components["schemas"] = {
            name: _closed(schema) for name, schema in document["components"]["schemas"].items()
        }
        self._paths = [
            (re.compile(re.sub(r"{\w+}", "[^/]+", path)), operations)
            for path, operations in document["paths"].items()
        ]
        self._validators: dict[str, Draft202012Validator] = {}

    def answer(self, method: str, path: str, reply: Reply) -> None:
        """See ``Watcher``."""
        operations = self._operations(path)
        operation = operations.get(method.lower())
        if operation is None and method == "HEAD" and reply.status != 405:
            operation = operations.get("get")
        if operation is None:
            if method != "HEAD":
                self._check({"$ref": "#/components/schemas/Problem"}, reply.body, method)
            return
        name = f"{operation['operationId']}: {reply.status}"
        assert str(reply.status) in operation["responses"], f"{name} is not described: {reply}"
        answer = self.resolve(operation["responses"][str(reply.status)])
        for header, about in answer["headers"].items():
            if self.resolve(about)["required"]:
                assert header.lower() in reply.headers, f"{name} lacks {header}"
        if method != "HEAD":
            self._check_body(answer, reply, operation["operationId"])

    def object(self, kind: str, value: Any) -> None:  # noqa: ANN401 - JSON
        """See ``Watcher``."""
        self._check({"$ref": f"#/components/schemas/{kind}"}, json.dumps(value).encode(), kind)

    def _operations(self, path: str) -> dict[str, Any]:
        plain = path.partition("?")[0]
        found: list[dict[str, Any]] = [
            operations for pattern, operations in self._paths if pattern.fullmatch(plain)
        ]
        return found[0] if found else {}

    def _check_body(self, answer: dict[str, Any], reply: Reply, name: str) -> None:
        if "content" not in answer:
            assert reply.body == b"", f"{name} has a body"
            return
        kind = reply.headers["content-type"].partition(";")[0]
        assert kind in answer["content"], f"{name} is no {kind}"
        if kind in _JSON:
            self._check(answer["content"][kind]["schema"], reply.body, name)
        elif kind == FRAME:
            self.object(_IN_FRAMES[name], take_apart(reply.body)[0])
        elif kind == _PIECES and "content-encoding" not in reply.headers:
            for shown, _ in pieces.frames(reply.body):
                self.object("PiecesEnd" if "done" in shown else "PieceHead", shown)

    def _check(self, schema: dict[str, Any], body: bytes, name: str) -> None:
        try:
            self.validator(schema).validate(json.loads(body))
        except ValidationError as error:
            raise AssertionError(f"{name} is not as described: {error}") from None

    def validator(self, schema: dict[str, Any]) -> Draft202012Validator:
        """Return what validates ``schema``, a part of the document."""
        key = json.dumps(schema)
        if key not in self._validators:
            whole = {"components": self._components, **schema}
            self._validators[key] = Draft202012Validator(whole)
        return self._validators[key]

    def resolve(self, part: dict[str, Any]) -> dict[str, Any]:
        """Return what a part of the document refers to, or itself."""
        if "$ref" not in part:
            return part
        found: Any = self._document
        for step in part["$ref"].removeprefix("#/").split("/"):
            found = found[step]
        assert isinstance(found, dict)
        return found


def _closed(schema: dict[str, Any]) -> dict[str, Any]:
    """Let an object have no members but those that are described."""
    if "properties" not in schema:
        return schema
    return {"additionalProperties": False, **schema}
