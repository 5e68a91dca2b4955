"""The requests of the document's examples, put to a real service about a real process."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from farpeek_api.operations import examples

if TYPE_CHECKING:
    from collections.abc import Mapping

    from farpeek_api.operations.operation import Example, Operation
    from support.serving import Reply, Service
    from support.targets import Target

COMM, UID, LENGTH = "ruby", 1000, 4096


class Asking:
    """A service and a process that is a target of it, in place of those of the examples.

    The process is called ``COMM`` and runs as ``UID``, as that of the examples does.
    """

    def __init__(self, service: Service, process: Target) -> None:
        self.service = service
        self.process = process
        self.address = process["marker"]
        labelled = {"pid": process.pid, "labels": {"job": "nightly"}}
        self.target = str(service.request("POST", "/v1/targets", labelled).json["id"])
        body = {"match": {"comm": COMM, "uid": UID}, "labels": {"job": "nightly"}}
        self.match = str(service.request("POST", "/v1/matches", body).json["id"])
        there = service.read(self.target, self.address, 3).json["data"]
        self._ours: Mapping[Any, Any] = {
            examples.TARGET: self.target,
            examples.PID: process.pid,
            examples.MATCH: self.match,
            hex(examples.ADDRESS): hex(self.address),
            hex(examples.CODE): hex(_code_of(process.pid)),
            hex(examples.ADDRESS + LENGTH): hex(self.address + LENGTH),
            "AAEC": there,
        }
        assert len(base64.b64decode(there)) == 3

    def ask(self, operation: Operation, example: Example) -> Reply:
        """Put the request of an example."""
        headers = {
            name: value.replace(str(examples.ADDRESS), str(self.address)).replace(
                str(examples.ADDRESS + 15), str(self.address + 15)
            )
            for name, value in example.headers.items()
        }
        path = self.path(operation, example.path)
        query = urlencode({name: _text(self.ours(each)) for name, each in example.query.items()})
        body = None if example.body is None else self.ours(example.body)
        return self.service.request(
            operation.method, f"{path}?{query}" if query else path, body, headers
        )

    def path(self, operation: Operation, given: Mapping[str, str] | None = None) -> str:
        """Write the path of an operation, about what is ours."""
        ours = self.match if operation.path.startswith("/v1/matches/") else self.target
        name = "app.js" if operation.id == "page_file" else "init.js"
        values = {"id": ours, "name": name, **(given or {})}
        return operation.path.format(
            **{name: quote(self.ours(each)) for name, each in values.items()}
        )

    def needed(self, operation: Operation) -> str:
        """Write those parameters that it cannot be asked without."""
        fields = operation.query.model_fields.items()
        needed = {each.alias or name for name, each in fields if each.is_required()}
        given = operation.examples[0].query.items() if needed else ()
        query = urlencode({name: self.ours(each) for name, each in given if name in needed})
        return f"?{query}" if query else ""

    def ours(self, value: Any) -> Any:  # noqa: ANN401 - JSON
        """Write a part of an example about what is ours."""
        match value:
            case dict():
                return {name: self.ours(each) for name, each in value.items()}
            case list():
                return [self.ours(each) for each in value]
            case bool():
                return value
            case _:
                return self._ours.get(value, value)


def _code_of(pid: int) -> int:
    """An address of the executable of a process."""
    executable = str(Path(f"/proc/{pid}/exe").readlink())
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        if line.endswith(executable):
            return int(line.partition("-")[0], 16)
    raise AssertionError(f"{executable} is not mapped")


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def differences(example: Any, real: Any, place: str = "") -> list[str]:  # noqa: ANN401 - JSON
    """Return where a real answer has other members, or other kinds of values, than an example."""
    match example, real:
        case dict(), dict():
            if place.endswith((".auxv", ".labels")):
                return [f"{place}.{name}" for name in example.keys() - real.keys()]
            found = [f"{place}.{name}" for name in example.keys() ^ real.keys()]
            for name in example.keys() & real.keys():
                found += differences(example[name], real[name], f"{place}.{name}")
            return found
        case list(), list():
            if not example or not real:
                return [] if bool(example) == bool(real) else [place]
            return differences(example[0], real[0], f"{place}[0]")
        case (None, _) | (_, None):
            return []
        case _:
            return [] if type(example) is type(real) else [place]
