"""Which operations there are, and how HTTP asks for them: out of the service's own document."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from farpeek_api.bus import messages
from farpeek_api.bus.problems import MALFORMED, UNKNOWN_OPERATION, Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_ALWAYS: Final = ("accept", "content-type", "traceparent", "tracestate")
_PARAMETER: Final = re.compile(r"\{\w+\}")
_METHODS: Final = ("get", "head", "post", "put", "patch", "delete")


@dataclass(frozen=True, slots=True)
class Route:
    """How one operation is asked for."""

    method: str
    path: str
    headers: Sequence[str]
    """Those that a request may have, in small letters."""
    changes: bool
    endless: bool

    @property
    def upgrades(self) -> bool:
        """Whether another protocol is spoken behind its answer."""
        return "upgrade" in self.headers

    def target(self, asked: Mapping[str, str]) -> str:
        """Write the request's target, with what a message says. Raises Refusal."""
        query = messages.query(asked)
        path = self._path(messages.text(asked, messages.TARGET))
        return f"{path}?{query}" if query else path

    def _path(self, named: str | None) -> str:
        places = _PARAMETER.findall(self.path)
        names = [] if named is None else named.split("/")
        if len(places) != len(names) or any(each in ("", ".", "..") for each in names):
            needs = f"what stands for {' and '.join(places)}" if places else "no such header"
            raise Refusal(MALFORMED, f"`{messages.TARGET}` is wrong: {self.path} takes {needs}")
        path = self.path
        for place, name in zip(places, names, strict=True):
            path = path.replace(place, quote(name, safe=""), 1)
        return path

    def sent(self, asked: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
        """Give the headers that are passed on. Raises Refusal."""
        names = (*self.headers, *_ALWAYS)
        found = {name: messages.text(asked, messages.called(name)) for name in names}
        return [(k.encode(), v.encode()) for k, v in found.items() if v is not None]


def digest(text: bytes) -> str:
    """Name a document by its bytes, so that nobody can give another the same name."""
    return f"sha256:{hashlib.sha256(text).hexdigest()}"


class Catalogue:
    """All operations of a document."""

    def __init__(self, text: bytes) -> None:
        """Raises ValueError, KeyError, ... for what is no document."""
        document: Mapping[str, Any] = json.loads(text)
        self.digest = digest(text)
        self._common: Mapping[str, Any] = document["components"]["parameters"]
        self.routes: dict[str, Route] = {
            operation["operationId"]: self._route(method, path, operation)
            for path, methods in document["paths"].items()
            for method, operation in methods.items()
            if method in _METHODS
        }

    def find(self, name: str) -> Route:
        """Give the route of an operation. Raises Refusal."""
        route = self.routes.get(name)
        if route is None:
            raise Refusal(
                UNKNOWN_OPERATION,
                "the service has no operation of that name: they are the `operationId`s of its "
                "OpenAPI document",
            )
        return route

    def _route(self, method: str, path: str, operation: Mapping[str, Any]) -> Route:
        parameters = [self._resolved(each) for each in operation.get("parameters", ())]
        return Route(
            method.upper(),
            path,
            [each["name"].lower() for each in parameters if each["in"] == "header"],
            bool(operation.get("x-farpeek-changes")),
            bool(operation.get("x-farpeek-endless")),
        )

    def _resolved(self, parameter: Mapping[str, Any]) -> Mapping[str, Any]:
        name = str(parameter.get("$ref", "")).rpartition("/")[2]
        found: Mapping[str, Any] = self._common[name] if name else parameter
        return found
