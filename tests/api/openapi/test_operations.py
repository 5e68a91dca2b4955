"""What the table of operations says is what the handlers do: a sweep of all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from farpeek_api.http.queries import NoQuery
from farpeek_api.openapi.schemas import schemas
from farpeek_api.operations import OPERATIONS
from farpeek_api.operations.operation import Entrance
from support.example_requests import COMM, UID, Asking, differences
from support.folders import open_folder
from support.frames import IOV, iov
from support.targets import start
from support.wire import Served

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from farpeek_api.operations.operation import Example, Operation
    from support.wire import Reply

UNKNOWN = "nothing of that name is known here: remove it"
AT_ONCE = 8  # mistakes; an answer tells 20 at most

EXAMPLES = [(operation, each) for operation in OPERATIONS for each in operation.examples]
WITH_BODY = [each for each in OPERATIONS if each.body is not None]


@pytest.fixture(scope="module")
def asking() -> Iterator[Asking]:
    with (
        open_folder() as made,
        Served(made, "--listen", "http://127.0.0.1:0", "--allow-writes") as served,
        start("plain", "--name", COMM, "--uid", UID) as process,
    ):
        yield Asking(served, process)


def name(value: object) -> str:
    return str(getattr(value, "id", None) or getattr(value, "name", value))


def put(
    asking: Asking,
    operation: Operation,
    query: str = "",
    headers: dict[str, str] | None = None,
    body: Any = None,  # noqa: ANN401 - whatever is sent
) -> Reply:
    """Put a request that has what each of its kind needs, and is about what is there."""
    path = asking.path(operation) + (f"?{query}" if query else "")
    if operation.body is not None and body is None:
        body = {}
    needed = {"Range": "bytes=0-1"} if "Range" in operation.headers else {}
    return asking.service.request(operation.method, path, body, {**needed, **(headers or {})})


@pytest.mark.parametrize(("operation", "example"), EXAMPLES, ids=name)
def test_an_example_is_what_a_service_answers(
    operation: Operation, example: Example, asking: Asking
) -> None:
    reply = asking.ask(operation, example)
    if operation.id == "register" and example.status == 201:
        assert reply.status == 200  # the fixture has registered it
    else:
        assert reply.status == example.status
    if example.answer is not None:
        assert differences(example.answer, reply.json) == []


@pytest.mark.parametrize("operation", OPERATIONS, ids=name)
def test_only_who_has_a_token_gets_in_by_tcp(operation: Operation, asking: Asking) -> None:
    served = asking.service
    assert isinstance(served, Served)
    reply = served.request_tcp(operation.method, asking.path(operation))
    assert (reply.status == 401) == ("unauthenticated" in operation.problems)
    assert (reply.status == 200) == (operation.entrance is not Entrance.GUARDED)


def test_every_operation_has_a_verb_but_probes_documents_and_the_stream() -> None:
    """Of the stream, each message has one."""
    without = {each.id for each in OPERATIONS if each.verb is None}
    documents = {"openapi", "docs", "docs_file", "page", "page_file"}
    assert without == {"live", "ready", *documents, "stream", "stream_ticket"}


def test_only_probes_are_open_and_only_the_page_is_public() -> None:
    by_entrance = {
        entrance: {each.id for each in OPERATIONS if each.entrance is entrance}
        for entrance in (Entrance.OPEN, Entrance.PUBLIC)
    }
    assert by_entrance == {
        Entrance.OPEN: {"live", "ready"},
        Entrance.PUBLIC: {"page", "page_file"},
    }


@pytest.mark.parametrize("operation", OPERATIONS, ids=name)
def test_a_parameter_that_is_not_known_is_refused(operation: Operation, asking: Asking) -> None:
    reply = put(asking, operation, query="nonsense=1")
    assert (reply.status == 422) == ("invalid" in operation.problems)


@pytest.mark.parametrize("operation", OPERATIONS, ids=name)
def test_a_form_that_there_is_none_of_is_refused(operation: Operation, asking: Asking) -> None:
    reply = put(asking, operation, headers={"Accept": "image/png"})
    assert (reply.status == 406) == ("not-acceptable" in operation.problems)


@pytest.mark.parametrize("operation", WITH_BODY, ids=name)
def test_a_body_of_another_kind_is_refused(operation: Operation, asking: Asking) -> None:
    assert put(asking, operation, headers={"Content-Type": "text/plain"}).status == 415
    assert "unsupported-media-type" in operation.problems


def test_only_what_has_a_body_may_be_sent_too_slowly_or_in_another_kind() -> None:
    for slug in ("unsupported-media-type", "slow-request"):
        assert [each for each in OPERATIONS if slug in each.problems] == WITH_BODY


@pytest.mark.parametrize("operation", OPERATIONS, ids=name)
def test_all_parameters_are_described(operation: Operation, asking: Asking) -> None:
    """Whatever any operation takes is either described, or not known to this one."""
    if operation.entrance is Entrance.OPEN or operation.method == "HEAD":
        return  # they look at nothing; no answer to HEAD has a body
    everything = {each for other in OPERATIONS for each in parameters(other)}
    is_binary = operation.body is not None and IOV in operation.body.others
    headers = {"Content-Type": IOV} if is_binary else {}
    body = iov([(asking.address, 8)]) if is_binary else None
    refused: set[str] = set()
    for names in chunks(sorted(everything)):
        query = "&".join(f"{each}=%00" for each in names)
        refused |= unknown(put(asking, operation, query, headers, body))
    assert everything - refused == parameters(operation)


@pytest.mark.parametrize("operation", WITH_BODY, ids=name)
def test_all_members_of_bodies_are_described(operation: Operation, asking: Asking) -> None:
    everything = {each for other in WITH_BODY for each in members(other)}
    refused: set[str] = set()
    for names in chunks(sorted(everything)):
        body = {each: {"no": "value"} for each in names}
        refused |= unknown(put(asking, operation, body=body))
    assert everything - refused == members(operation)


def parameters(operation: Operation) -> set[str]:
    if operation.query is NoQuery:
        return set()
    return set(schemas([operation.query]).members(operation.query)[0])


def members(operation: Operation) -> set[str]:
    assert operation.body is not None
    return set(schemas([operation.body.model]).members(operation.body.model)[0])


def chunks(names: list[str]) -> Iterable[list[str]]:
    return (names[start : start + AT_ONCE] for start in range(0, len(names), AT_ONCE))


def unknown(reply: Reply) -> set[str]:
    """Return the names that a service says it does not know."""
    assert reply.status == 422, reply
    return {each["place"] for each in reply.json["errors"] if each["cause"] == UNKNOWN}
