"""The gateway's OpenAPI document: its own routes as they are, and nothing else."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

import openapi_spec_validator
import pytest

from farpeek_api.openapi import gateway as document
from farpeek_api.operations.gateway import OPERATIONS
from farpeek_api.portal import server
from support.described import Described
from support.fleet import BOB, MALLORY
from support.gateway import GatewayProcess

if TYPE_CHECKING:
    from support.fleet import Fleet

KEPT = Path(__file__).parents[3] / "api" / "gateway-openapi.json"
OF_NODES = {("GET", "/v1/nodes/{node}/"), ("GET", "/v1/nodes/{node}/ui/{name}")}
"""Of the page that is behind a node, for browsers."""


@pytest.fixture(scope="module")
def made() -> dict[str, Any]:
    made: dict[str, Any] = json.loads(document.text())
    return made


@pytest.fixture(scope="module")
def described(made: dict[str, Any]) -> Described:
    return Described(made)


def test_it_is_openapi(made: dict[str, Any]) -> None:
    openapi_spec_validator.validate(made)


def test_what_is_served_and_what_is_kept_is_what_is_made(gateway: GatewayProcess) -> None:
    reply = gateway.request("GET", "/openapi.json")
    assert reply.headers["content-type"] == "application/json"
    assert reply.body == document.text()
    assert KEPT.read_bytes() == document.text(), "run `make openapi`"


def test_without_the_page_it_is_not_in_the_document(fleet: Fleet) -> None:
    folder = fleet.folder / "plain"
    folder.mkdir(exist_ok=True)
    with GatewayProcess(fleet.broker, folder, "--no-ui") as plain:
        paths = plain.request("GET", "/openapi.json").json["paths"].keys()
        assert paths == json.loads(document.text())["paths"].keys() - {"/", "/ui/{name}"}
        assert plain.request("GET", "/").status == 404


def test_every_route_is_an_operation_and_every_operation_a_route() -> None:
    routes = server._routes(Mock(), Mock(), Mock(), Mock(), Mock())  # noqa: SLF001 - the table
    served = {(each.method, each.path) for each in routes if each.method != "*"} - OF_NODES
    of_a_node = {("GET", "/v1/nodes/{node}/openapi.json")}
    assert {(each.method, each.path) for each in OPERATIONS} - of_a_node == served


def test_every_component_is_used(made: dict[str, Any]) -> None:
    used = set(re.findall('"#/components/schemas/([A-Za-z]+)"', json.dumps(made)))
    assert made["components"]["schemas"].keys() - used == {"NodeLine", "AllLine"}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/nodes", 200),
        ("GET", "/v1/nodes?node=n1&node=n9", 200),
        ("GET", "/v1/nodes?label=zone", 400),
        ("GET", "/v1/nodes?comm=ruby", 400),
        ("GET", "/v1/nodes/n1/openapi.json", 200),
        ("HEAD", "/v1/nodes/n1/openapi.json", 200),
        ("GET", "/v1/nodes/n1/openapi.json?nonsense=1", 422),
        ("GET", "/v1/nodes/n9/openapi.json", 404),
        ("POST", "/v1/fleet/list_processes?comm=none-*", 200),
        ("POST", "/v1/fleet/events", 413),
        ("POST", "/v1/fleet/No", 404),
        ("POST", "/v1/fleet/writev", 428),
        ("GET", "/livez", 200),
        ("GET", "/readyz", 200),
        ("GET", "/metrics", 200),
        ("GET", "/metrics?nonsense=1", 422),
        ("GET", "/openapi.json", 200),
        ("GET", "/openapi.json?nonsense=1", 422),
        ("GET", "/docs", 200),
        ("GET", "/docs/init.js", 200),
        ("GET", "/docs/nothing", 404),
        ("GET", "/", 200),
        ("GET", "/ui/app.js", 200),
        ("GET", "/ui/nothing", 404),
    ],
)
def test_answers_are_as_they_are_described(
    gateway: GatewayProcess, described: Described, method: str, path: str, status: int
) -> None:
    reply = gateway.request(method, path)
    assert reply.status == status
    described.answer(method, path, reply)


@pytest.mark.parametrize("token", [BOB, MALLORY, "nobody's"], ids=["bob", "mallory", "nobody"])
@pytest.mark.parametrize("path", ["/metrics", "/v1/nodes", "/v1/nodes/n1/openapi.json"])
def test_refusals_are_as_they_are_described(
    gateway: GatewayProcess, described: Described, path: str, token: str
) -> None:
    described.answer("GET", path, gateway.request("GET", path, token=token))


def test_lines_are_as_they_are_described(gateway: GatewayProcess, described: Described) -> None:
    reply = gateway.request("POST", "/v1/fleet/info?node=n1&node=n9")
    *each, last = [json.loads(line) for line in reply.body.splitlines()]
    assert len(each) == 2
    for line in each:
        described.object("NodeLine", line)
    described.object("AllLine", last)
