"""The OpenAPI document says what there is: routes, models, problems, and nothing else."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

import openapi_spec_validator
import pytest

from farpeek_api.http import app, problems
from farpeek_api.openapi import document
from farpeek_api.operations import OPERATIONS
from support.described import Described
from support.every_error import EXAMPLES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from farpeek_api.operations.operation import Operation
    from support.wire import Served

KEPT = Path(__file__).parents[3] / "api" / "openapi.json"
NOT_OF_ONE_OPERATION = {"method-not-allowed"}
SAID_ELSEWHERE = {
    *("StreamMessage", "StreamAnswer"),  # in the frames of a WebSocket
    *("TargetEvent", "LostEvents"),  # in Server-Sent Events
    *("ReadHead", "PieceHead", "PlanHead", "PiecesEnd"),  # in frames and pieces
    "SearchLine",  # in lines and events
}


@pytest.fixture(scope="module")
def made() -> dict[str, Any]:
    made: dict[str, Any] = json.loads(document.text())
    return made


@pytest.fixture(scope="module")
def described(made: dict[str, Any]) -> Described:
    return Described(made)


def parts(value: object) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from parts(each)


def test_it_is_openapi(made: dict[str, Any]) -> None:
    openapi_spec_validator.validate(made)
    assert made["openapi"].startswith("3.1.")


def test_what_is_served_and_what_is_kept_is_what_is_made(served: Served) -> None:
    reply = served.request("GET", "/openapi.json")
    assert reply.headers["content-type"] == "application/json"
    assert reply.body == document.text()
    assert KEPT.read_bytes() == document.text(), "run `make openapi`"


def test_every_operation_has_a_handler_and_every_handler_an_operation() -> None:
    served = [operation for operation, _ in app.served(Mock())]
    assert sorted(served, key=by_id) == sorted(OPERATIONS, key=by_id)


def by_id(operation: Operation) -> str:
    return operation.id


def test_no_two_operations_are_alike() -> None:
    assert len({each.id for each in OPERATIONS}) == len(OPERATIONS)
    assert len({(each.method, each.path) for each in OPERATIONS}) == len(OPERATIONS)


def test_every_operation_and_what_it_is_given_has_a_text(made: dict[str, Any]) -> None:
    for operations in made["paths"].values():
        for operation in operations.values():
            assert operation["summary"]
            assert operation["description"]
            for parameter in operation["parameters"]:
                assert "$ref" in parameter or parameter["description"], operation["operationId"]
    for name, schema in made["components"]["schemas"].items():
        if schema.get("additionalProperties") is False:
            for member, about in schema["properties"].items():
                assert about.get("description"), f"{name}.{member}"


def test_every_problem_is_one_that_an_operation_can_answer() -> None:
    named = {slug for each in OPERATIONS for slug in each.problems}
    assert named == problems.rows().keys() - NOT_OF_ONE_OPERATION


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_every_problem_is_as_its_component_has_it(error: Exception, described: Described) -> None:
    body = json.loads(problems.document(error, "4242-8812345"))
    slug = body["type"].rpartition(":")[2]
    described.object("".join(part.capitalize() for part in slug.split("-")) + "Problem", body)
    described.object("Problem", body)


def test_a_component_is_called_as_its_model(made: dict[str, Any]) -> None:
    for name in made["components"]["schemas"]:
        assert re.fullmatch("[A-Z][A-Za-z]+", name), name


def test_every_component_is_used(made: dict[str, Any]) -> None:
    used = {each["$ref"] for each in parts(made) if isinstance(each.get("$ref"), str)}
    there = {
        f"#/components/{kind}/{name}"
        for kind in ("schemas", "parameters", "headers")
        for name in made["components"][kind]
    }
    assert {each.rpartition("/")[2] for each in there - used} == SAID_ELSEWHERE


def test_only_requests_are_closed(made: dict[str, Any]) -> None:
    closed = {
        name
        for name, schema in made["components"]["schemas"].items()
        if "additionalProperties" in schema and schema.get("properties")
    }
    assert closed == {
        *("ReadRequest", "ReadOf", "ManyReadsRequest", "WriteRequest", "PiecesRequest"),
        *("Plan", "StreamPlan", "PlanSampling", "SubscribePlan"),
        *("PlanRequest", "TypeBody", "FieldOptions", "LimitsBody", "When", "Then"),
        *("ReadStep", "TextStep", "BytesStep", "ChainStep", "ListStep", "ArrayStep"),
        *("SearchRequest", "PatternBody", "FilterBody"),
        *("RegisterRequest", "MatchRequest", "StandingRequest"),
        *("StreamRead", "Sampling", "Subscribe", "Unsubscribe"),
    }


def test_bytes_say_how_they_are_encoded(made: dict[str, Any]) -> None:
    schemas = made["components"]["schemas"]
    assert schemas["WriteResult"]["properties"]["before"]["contentEncoding"] == "base64"
    data = schemas["WriteRequest"]["properties"]["data"]
    assert data["items"]["contentEncoding"] == "base64"
    choices = schemas["ReadResult"]["properties"]["data"]["anyOf"]
    assert [each["contentEncoding"] for each in choices] == ["base64", "base16"]


def test_who_is_asked_for_a_token(made: dict[str, Any]) -> None:
    without = {
        path
        for path, operations in made["paths"].items()
        for each in operations.values()
        if each.get("security") == []
    }
    assert without == {*app.OPEN_PATHS, "/", "/ui/{name}"}
    assert set(app.OPEN_PATHS) == {"/livez", "/readyz"}
