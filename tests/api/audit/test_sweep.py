"""Every operation of the table, and every message of a stream, leaves a line."""

from __future__ import annotations

import json
import mmap
import os
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from farpeek_api.operations import OPERATIONS
from farpeek_api.operations.operation import Entrance
from farpeek_api.policy import tokens
from farpeek_api.policy.verbs import Verb
from farpeek_api.stream import messages
from support.audits import MEMBERS, Line, left_in, verified
from support.example_requests import COMM, UID, Asking
from support.folders import open_folder
from support.policies import EVERYTHING, As, Policed, entry
from support.targets import start
from support.wire import Events

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from farpeek_api.operations.operation import Operation
    from support.targets import Target

ALL, POOR, SLOW = tokens.make(), tokens.make(), tokens.make()
POLICY = (
    entry("all", ALL, rest=f'targets = {EVERYTHING}\nimpersonate = ["poor"]')
    + entry("poor", POOR, ["admin"], "targets = [{ uid = 4242 }]")
    + entry("slow", SLOW, rest=f"targets = {EVERYTHING}\nrate = {{ requests_per_s = 0.001 }}")
)
AUDITED = [each for each in OPERATIONS if each.entrance is Entrance.GUARDED]
ENDING = {"release", "delete_match"}
"""What others need would end by these; they are swept by a test of their own."""
WITHOUT_ADDRESS = {"readv_many", "list_threads", "get_core"}
"""What reads, and names no address of its own."""
SILENT = {"live", "ready", "page", "page_file"}
"""Probes and the files of the page ask nothing about anybody, and have no client."""

_numbers = count(1)


class Swept:
    """A service, what it has written, and requests to it, each with an id of its own."""

    def __init__(self, service: Policed, path: Path, process: Target) -> None:
        self.service = service
        self.path = path
        self.process = process
        self.asking = Asking(As(service, ALL), process)  # type: ignore[arg-type]  # what it uses of a service

    def put(self, operation: Operation, token: str | None, **headers: str) -> str:
        """Put a request that is good but for who puts it; its id."""
        request_id = f"sweep-{next(_numbers)}"
        sent = {"X-Request-Id": request_id}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        body = None if operation.body is None else {}
        example = operation.examples[0] if operation.examples else None
        if example is not None and example.body is not None:
            body = self.asking.ours(example.body)
        if "Range" in operation.headers:
            sent["Range"] = f"bytes={self.asking.address}-{self.asking.address + 7}"
        path = self.asking.path(operation) + self.asking.needed(operation)
        if operation.id == "events":
            Events(self.service.path, headers=sent).end()
        else:
            self.service.request(operation.method, path, body, sent)
        return request_id

    def lines(self, request_id: str, count: int = 1) -> list[Line]:
        """Return the lines of a request, once there are so many."""
        return left_in(self.path, lambda line: line.get("request_id") == request_id, count)


@pytest.fixture(scope="module")
def swept() -> Iterator[Swept]:
    with open_folder() as made, start("plain", "--name", COMM, "--uid", UID) as process:
        path = made / "audit"
        flags = ("--allow-writes", "--audit", str(path))
        with Policed(made, POLICY, *flags) as service:
            yield Swept(service, path, process)
            assert service.stop() == 0
        assert verified(path)["whole"]


def name(operation: Operation) -> str:
    return operation.id


def test_the_only_operations_that_leave_no_line_are_probes_and_the_page(swept: Swept) -> None:
    silent = [each for each in OPERATIONS if each not in AUDITED]
    assert {each.id for each in silent} == SILENT
    ids = {swept.put(each, ALL) for each in silent}
    told = swept.put(next(each for each in OPERATIONS if each.id == "info"), ALL)
    (line,) = swept.lines(told)
    before = [json.loads(each) for each in swept.path.read_text().splitlines()]
    assert not [
        each for each in before if each["seq"] < line["seq"] and each.get("request_id") in ids
    ]


@pytest.mark.parametrize("operation", [each for each in OPERATIONS if each.id in ENDING], ids=name)
def test_what_ends_something_leaves_a_line(swept: Swept, operation: Operation) -> None:
    request_id = f"ends-{operation.id}"
    ours = As(swept.service, ALL)
    if operation.id == "release":
        with start("plain") as process:
            made = ours.register(process.pid).json["id"]
            ours.request("DELETE", f"/v1/targets/{made}", headers={"X-Request-Id": request_id})
    else:
        made = ours.request("POST", "/v1/matches", {"match": {"comm": "nobody"}}).json["id"]
        ours.request("DELETE", f"/v1/matches/{made}", headers={"X-Request-Id": request_id})
    (line,) = swept.lines(request_id)
    assert (line["outcome"], line["verb"]) == ("done", operation.verb)
    assert (line["target"] or {}).get("id") == (made if operation.id == "release" else None)


@pytest.mark.parametrize("operation", [each for each in AUDITED if each.id not in ENDING], ids=name)
def test_each_operation_leaves_a_line(swept: Swept, operation: Operation) -> None:
    request_id = swept.put(operation, ALL)
    line = swept.lines(request_id)[-1]
    assert set(line) == set(MEMBERS)
    assert line["client"] == "all"
    assert line["peer"] == {"uid": os.geteuid(), "pid": os.getpid()}
    assert line["verb"] == operation.verb
    if "/targets/{id}" in operation.path:
        assert line["target"]["id"] == swept.asking.target
        assert line["target"]["pid"] == swept.process.pid
        assert (line["target"]["comm"], line["target"]["uid"]) == (COMM, UID)
    if operation.verb is Verb.READ and operation.id not in WITHOUT_ADDRESS:
        assert line["ranges"][0][0] == hex(swept.asking.address)


@pytest.mark.parametrize("operation", AUDITED, ids=name)
def test_each_refusal_leaves_a_line(swept: Swept, operation: Operation) -> None:
    unknown = swept.put(operation, "nonsense")
    poor = swept.put(operation, POOR)
    for_other = swept.put(operation, ALL, Farpeek_On_Behalf_Of="nobody")
    for request_id, client, outcome in (
        (unknown, None, "unauthenticated"),
        (for_other, None, "forbidden"),
        *([(poor, "poor", "forbidden")] if operation.verb is not None else []),
    ):
        (line,) = swept.lines(request_id)
        assert (line["client"], line["outcome"]) == (client, outcome)
        assert line["verb"] == operation.verb
        assert line["bytes"] == 0
        if "/targets/{id}" in operation.path:
            assert line["target"]["id"] == swept.asking.target


def test_who_comes_too_often_leaves_lines(swept: Swept) -> None:
    operation = next(each for each in OPERATIONS if each.id == "info")
    ids = [swept.put(operation, SLOW) for _ in range(3)]
    assert swept.lines(ids[-1])[0]["outcome"] == "too-busy"


def test_who_asks_for_another_is_named_besides(swept: Swept) -> None:
    operation = next(each for each in OPERATIONS if each.id == "list_processes")
    request_id = swept.put(operation, ALL, Farpeek_On_Behalf_Of="poor")
    (line,) = swept.lines(request_id)
    assert (line["client"], line["by"], line["outcome"]) == ("poor", "all", "forbidden")


def test_what_is_no_route_leaves_a_line(swept: Swept) -> None:
    headers = {"X-Request-Id": "no-route", "Authorization": f"Bearer {ALL}"}
    assert swept.service.request("GET", "/v1/nothing", headers=headers).status == 404
    (line,) = swept.lines("no-route")
    assert (line["verb"], line["outcome"]) == (None, "not-found")


def test_each_read_of_many_leaves_a_line(swept: Swept) -> None:
    where = {"addresses": [hex(swept.asking.address)], "lengths": [16]}
    reads = [{"target": swept.asking.target, **where}, {"target": "1-1", **where}]
    headers = {"X-Request-Id": "many", "Authorization": f"Bearer {ALL}"}
    assert swept.service.request("POST", "/v1/readv", {"reads": reads}, headers).status == 200
    assert swept.lines("many")[0]["outcome"] == "done"
    (first,) = swept.lines("many#0")
    (second,) = swept.lines("many#1")
    assert (first["outcome"], first["bytes"]) == ("done", 16)
    assert first["target"]["pid"] == swept.process.pid
    assert (second["outcome"], second["bytes"]) == ("no-such-target", 0)
    assert second["target"]["id"] == "1-1"


def test_each_process_of_a_registration_of_all_leaves_a_line(swept: Swept) -> None:
    headers = {"X-Request-Id": "all-that-fit", "Authorization": f"Bearer {ALL}"}
    body = {"match": {"comm": COMM, "uid": UID}, "all": True}
    reply = swept.service.request("POST", "/v1/targets", body, headers)
    held = [each["id"] for each in reply.json["targets"]]
    lines = [swept.lines(f"all-that-fit#{number}")[0] for number in range(len(held))]
    assert sorted(line["target"]["id"] for line in lines) == sorted(held)
    assert {line["outcome"] for line in lines} == {"done"}


def planned(swept: Swept) -> Any:  # noqa: ANN401 - JSON
    return {"plan": {"steps": [{"id": "a", "read": "u64", "at": hex(swept.asking.address)}]}}


def message_of(kind: type, swept: Swept, number: int, *, match: bool = False) -> Any:  # noqa: ANN401 - JSON
    where = {"addresses": [hex(swept.asking.address)], "lengths": [8]}
    held = {"match": swept.asking.match} if match else {"target": swept.asking.target}
    match kind:
        case messages.StreamRead:
            return {"id": number, "target": swept.asking.target, **where}
        case messages.Subscribe:
            return {"id": number, "subscribe": {**held, "hz": 50, **where}}
        case messages.StreamPlan:
            return {"id": number, **held, **planned(swept)}
        case messages.SubscribePlan:
            return {"id": number, "subscribe": {**held, "hz": 50, **planned(swept)}}
        case messages.Unsubscribe:
            return {"unsubscribe": number}
        case _:
            raise AssertionError(kind)


@pytest.mark.parametrize("kind", messages.VERBS, ids=lambda kind: kind.__name__)
def test_each_message_of_a_stream_leaves_a_line(swept: Swept, kind: type) -> None:
    request_id = f"stream-{kind.__name__}"
    with As(swept.service, ALL, X_Request_Id=request_id).stream() as ws:
        if kind is messages.Unsubscribe:
            ws.ask(message_of(messages.Subscribe, swept, 7))
        ws.send(message_of(kind, swept, 7))
        lines = swept.lines(f"{request_id}#7", 1 if kind is not messages.Unsubscribe else 3)
    line = lines[-1 if kind is messages.Unsubscribe else 0]
    assert line["client"] == "all"
    assert line["verb"] == messages.VERBS[kind]
    if kind is not messages.Unsubscribe:
        assert line["target"]["pid"] == swept.process.pid
    if kind in {messages.StreamRead, messages.Subscribe}:
        assert line["ranges"] == [[hex(swept.asking.address), 8]]
    if kind in {messages.StreamRead, messages.StreamPlan}:
        assert (line["bytes"], line["outcome"]) == (8, "done")
    if kind is messages.StreamPlan:
        assert line["ranges"] == [[hex(swept.asking.address & -mmap.PAGESIZE), mmap.PAGESIZE]], (
            "the page it asked for"
        )
    assert [each["outcome"] for each in swept.lines(request_id, 2)] == ["begun", "done"]


@pytest.mark.parametrize(
    "kind", [kind for kind in messages.VERBS if kind is not messages.Unsubscribe]
)
def test_messages_that_are_refused_leave_lines(swept: Swept, kind: type) -> None:
    request_id = f"poor-{kind.__name__}"
    with As(swept.service, POOR, X_Request_Id=request_id).stream() as ws:
        assert "problem" in ws.ask(message_of(kind, swept, 3))[0]
        (line,) = swept.lines(f"{request_id}#3")
        assert (line["client"], line["outcome"], line["verb"]) == ("poor", "forbidden", "read")
        assert line["target"]["id"] == swept.asking.target
        ws.ask("nonsense")
        assert len(swept.lines(request_id, 2)) == 2


def test_a_subscription_leaves_a_line_at_its_begin_and_one_with_counts_at_its_end(
    swept: Swept,
) -> None:
    with As(swept.service, ALL, X_Request_Id="sub").stream() as ws:
        ws.ask(message_of(messages.Subscribe, swept, 1))
        for _ in range(3):
            ws.next()
        ws.send({"unsubscribe": 1})
        lines = swept.lines("sub#1", 3)
    begun, ended = [line for line in lines if line["verb"] == "read"]
    assert (begun["outcome"], begun["reads"], begun["bytes"]) == ("begun", 0, 0)
    assert ended["outcome"] == "unsubscribed"
    assert ended["reads"] >= 3
    assert ended["bytes"] == 8 * ended["reads"]


def test_a_subscription_to_a_match_leaves_lines_for_each_target(swept: Swept) -> None:
    with As(swept.service, ALL, X_Request_Id="match").stream() as ws:
        ws.ask(message_of(messages.Subscribe, swept, 1, match=True))
        ws.next()
    for target in (None, swept.asking.target):  # others of this machine may fit the match, too
        lines = left_in(swept.path, partial(_is_of_match, target), 2)
        assert [line["outcome"] for line in lines] == ["begun", "client-gone"]


def _is_of_match(target: str | None, line: Line) -> bool:
    about = line.get("target")
    return line.get("request_id") == "match#1" and (about and about["id"]) == target


def test_no_line_has_contents_or_tokens_or_hashes_of_them(swept: Swept) -> None:
    text = swept.path.read_text()
    for token in (ALL, POOR, SLOW):
        assert token not in text
        assert tokens.digest(token) not in text
