"""Every operation of the document, by HTTP and through the broker; and who may ask for what."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from farpeek_api.bus import kept, messages, subjects
from farpeek_api.bus.asking import Asking, Question
from farpeek_api.bus.catalogue import Catalogue
from farpeek_api.bus.problems import Refusal
from farpeek_api.openapi import document
from farpeek_api.operations import OPERATIONS
from support.audits import left_in
from support.example_requests import differences
from support.fleet import put, volatile

if TYPE_CHECKING:
    from farpeek_api.operations.operation import Operation
    from support.fleet import Fleet
    from support.serving import Reply

ENDING = {"release", "delete_match"}
"""What others need would end by these."""
WITH_END = [each for each in OPERATIONS if not each.is_endless]
EXACT = {"application/octet-stream", "text/html", "text/javascript", "text/css", "image/svg+xml"}
"""Kinds of answers of which every byte is to be the same."""
OF_ONE_CONNECTION = {"x-request-id", "date", "server", "transfer-encoding", "connection"}


def name(operation: Operation) -> str:
    return operation.id


def requests(fleet: Fleet, operation: Operation) -> list[tuple[str, Any, dict[str, str]]]:
    """Return path, body and headers of all of an operation's examples, or of one request."""
    asking = fleet.asking
    headers = {}
    if "Range" in operation.headers:
        headers["Range"] = f"bytes={asking.address}-{asking.address + 15}"
    bodies = [each.body for each in operation.examples if each.body is not None]
    if operation.body is None:
        bodies = [None]
    path = asking.path(operation) + asking.needed(operation)
    return [(path, asking.ours(body), headers) for body in bodies or [{}]]


def same(by_http: Reply, by_broker: Reply) -> None:
    assert by_broker.status == by_http.status
    ours = by_http.headers.keys() - OF_ONE_CONNECTION
    assert ours <= by_broker.headers.keys()
    kind = by_http.headers.get("content-type", "").partition(";")[0]
    assert by_broker.headers.get("content-type", "").partition(";")[0] == kind
    if kind in EXACT:
        assert by_broker.body == by_http.body
    elif kind.endswith("json") and "ndjson" not in kind and by_http.body:
        there, here = volatile(by_http.json), volatile(by_broker.json)
        assert differences(there, here) == []
        assert there.get("data") == here.get("data")


@pytest.mark.parametrize("operation", WITH_END, ids=name)
async def test_each_operation_has_the_answer_that_http_has(
    fleet: Fleet, operation: Operation
) -> None:
    if operation.id in ENDING:
        path = f"{fleet.asking.path(operation)}-no"  # there is none of that name
        by_http = fleet.asking.service.request(operation.method, path)
        async with fleet.broker.asking() as alice:
            same(by_http, await put(alice, operation, path))
        return
    async with fleet.broker.asking() as alice:
        for path, body, headers in requests(fleet, operation):
            by_http = fleet.asking.service.request(operation.method, path, body, headers)
            same(by_http, await put(alice, operation, path, body, headers))


@pytest.mark.parametrize("operation", WITH_END, ids=name)
async def test_a_problem_is_the_one_that_http_has(fleet: Fleet, operation: Operation) -> None:
    path = operation.path.format(id="1-1", name="none") + "?nonsense=1"
    body = None if operation.body is None else {"nonsense": 1}
    by_http = fleet.asking.service.request(operation.method, path, body)
    async with fleet.broker.asking() as alice:
        same(by_http, await put(alice, operation, path, body))


async def test_the_audit_has_both_names(fleet: Fleet) -> None:
    operation = next(each for each in OPERATIONS if each.id == "info")
    async with fleet.broker.asking() as alice:
        sent = {"X-Request-Id": "by-broker"}
        assert (await put(alice, operation, "/v1/info", headers=sent)).status == 200
    (line,) = left_in(fleet.folder / "audit", lambda line: line.get("request_id") == "by-broker", 1)
    assert (line["client"], line["by"], line["outcome"]) == ("alice", "agent", "done")


async def test_each_client_has_its_own_rights(fleet: Fleet) -> None:
    operation = next(each for each in OPERATIONS if each.id == "get_target")
    path = f"/v1/targets/{fleet.asking.target}"
    async with fleet.broker.asking("bob") as bob:
        assert (await put(bob, operation, path)).slug == "no-such-target"
    async with fleet.broker.asking("mallory") as mallory:
        reply = await put(mallory, operation, path)
        assert (reply.status, reply.json["verb"]) == (403, "impersonate")


def test_no_operation_is_called_as_what_the_agent_does_itself() -> None:
    assert not subjects.OWN & {each.id for each in OPERATIONS}


def test_the_document_says_what_changes_something_and_what_has_no_end() -> None:
    routes = Catalogue(document.text()).routes
    assert {each.id for each in OPERATIONS} == set(routes)
    for each in OPERATIONS:
        assert (routes[each.id].changes, routes[each.id].endless) == (
            each.changes,
            each.is_endless,
        )
    assert {"writev", "register", "release", "create_match", "delete_match"} == {
        each.id for each in OPERATIONS if each.changes
    }


async def refused(fleet: Fleet, question: Question, node: str = "n1", user: str = "alice") -> str:
    async with fleet.broker.asking(user) as client:
        answer = await client.ask(node, question)
        try:
            with pytest.raises(Refusal) as error:
                await answer.whole()
        finally:
            await answer.close()
    return error.value.kind.slug


async def test_what_changes_something_needs_a_deadline_by_the_nodes_clock(fleet: Fleet) -> None:
    for operation in (each for each in OPERATIONS if each.changes):
        target = fleet.asking.match if "match" in operation.id else fleet.asking.target
        about = target if "{id}" in operation.path else None
        assert await refused(fleet, Question(operation.id, about)) == "not-after-required"
        late = Question(operation.id, about, not_after=messages.clock_ns() - 1)
        assert await refused(fleet, late) == "too-late"
        everybody = Question(operation.id, about, not_after=messages.clock_ns() + 10**12)
        async with fleet.broker.connection("alice") as client:
            inbox = "_INBOX.alice.everybody"
            answers = await client.subscribe(f"{inbox}.*")
            await client.publish(
                f"farpeek.v1.alice.all.{operation.id}", b"", inbox, everybody.written()
            )
            reply = await answers.next_msg(20)
            assert json.loads(reply.data)["type"].endswith(":not-after-required")
            assert reply.headers["Nats-Service-Error-Code"] == "428"


@pytest.mark.parametrize(
    ("question", "slug"),
    [
        (Question("nonsense"), "unknown-operation"),
        (Question("get_target"), "malformed"),
        (Question("get_target", ".."), "malformed"),
        (Question("get_target", "a/b"), "malformed"),
        (Question("info", "a"), "malformed"),
        (Question("info", query="a b"), "malformed"),
        (Question("info", headers={"Farpeek-Not-After": "soon"}), "malformed"),
        (Question("info", headers={"Farpeek-Not-After": "1" * 99}), "malformed"),
        (Question("info", headers={"Accept": "x" * 5000}), "malformed"),
        (Question("info", headers={"Accept": "é"}), "malformed"),
        (Question("info", not_after=1), "too-late"),
        (Question("events", credit=0), "answer-too-large"),
        (Question("x" * 64), "malformed"),
        (Question("INFO"), "malformed"),
        (Question("info.more.words"), "malformed"),
    ],
)
async def test_a_wrong_request_is_told_so(fleet: Fleet, question: Question, slug: str) -> None:
    assert await refused(fleet, question) == slug


async def test_nobody_is_asked_by_a_name_that_nobody_has(fleet: Fleet) -> None:
    assert await refused(fleet, Question("info"), "n9") == "unknown-node"


async def test_groups_and_all_are_answered_by_the_node_itself(fleet: Fleet) -> None:
    async with fleet.broker.connection("alice") as client:
        for number, group in enumerate(("all", "label-zone-a")):
            inbox = f"_INBOX.alice.group{number}"
            answers = await client.subscribe(f"{inbox}.*")
            await client.publish(
                f"farpeek.v1.alice.{group}.clock", b"", inbox, Question("clock").written()
            )
            reply = await answers.next_msg(20)
            assert reply.subject == f"{inbox}.n1"
            about = json.loads(reply.data)
            assert (about["node"], about["labels"]) == ("n1", {"zone": "a"})


async def test_nobody_has_answers_sent_to_another(fleet: Fleet) -> None:
    async with fleet.broker.connection("bob") as bob, fleet.broker.connection("alice") as alice:
        seen = await bob.subscribe("_INBOX.bob.>")
        own = await alice.subscribe("_INBOX.alice.>")
        for inbox in ("_INBOX.bob.x", "_INBOX.*.x", "_INBOX.alice", "_INBOX.bob.x.n1", "$SYS.x"):
            await alice.publish("farpeek.v1.alice.n1.info", b"", inbox)
        await alice.publish("farpeek.v1.alice.n1.info", b"", "_INBOX.alice.last")
        assert (await own.next_msg(20)).subject == "_INBOX.alice.last.n1"
        await bob.flush()
        assert seen.pending_msgs == 0


async def test_the_broker_lets_nobody_ask_or_answer_as_another(fleet: Fleet) -> None:
    async with fleet.broker.connection("bob") as bob, fleet.broker.connection("n2") as other:
        await bob.publish("farpeek.v1.alice.n1.info", b"", "_INBOX.bob.x")
        await other.publish("_INBOX.alice.x.n1", b"forged")
        await other.subscribe("farpeek.v1.*.n1.>")
        for each in (bob, other):
            await each.flush()
        assert "permissions violation" in str(bob.errors[0]).lower()  # type: ignore[attr-defined]  # support.fleet's
        assert len(other.errors) == 2  # type: ignore[attr-defined]  # the same


async def test_an_answer_of_another_node_is_not_taken(fleet: Fleet) -> None:
    async with fleet.broker.connection("alice") as own, fleet.broker.connection("n2") as other:
        answer = await Asking(own, "alice").ask("n1", Question("events"))
        await own.flush()
        forged = {"Farpeek-Chunk": "0", "Farpeek-Status": "200"}
        await other.publish(f"_INBOX.alice.{answer.number}.n2", b"forged", headers=forged)
        await other.flush()
        await own.flush()  # by now it has come, wherever among the others
        text = b""
        while b": events follow" not in text:
            text += await answer.part() or b""
        target = fleet.asking.service.register(os.getpid()).json["id"]  # type: ignore[attr-defined]  # it is an As
        try:
            while b'"pid":%d,' % os.getpid() not in text:  # others' events come as well
                text += await answer.part() or b""
            assert b"forged" not in text
        finally:
            fleet.asking.service.request("DELETE", f"/v1/targets/{target}")
            await answer.close()


async def test_a_payload_above_what_the_broker_takes_is_refused_by_the_library(
    fleet: Fleet,
) -> None:
    async with fleet.broker.asking() as alice:
        operation = next(each for each in OPERATIONS if each.id == "readv")
        path = f"/v1/targets/{fleet.asking.target}/readv"
        largest = b" " * ((1 << 20) - messages.ROOM_FOR_HEADERS)
        assert (await put(alice, operation, path, largest)).slug == "malformed"


async def test_micro_finds_the_node(fleet: Fleet) -> None:
    async with fleet.broker.connection("ops") as ops:
        for verb in ("PING", "INFO", "STATS"):
            inbox = f"_MICRO.{verb}"
            answers = await ops.subscribe(inbox)
            await ops.publish(f"$SRV.{verb}.farpeek", b"", inbox)
            shown = json.loads((await answers.next_msg(20)).data)
            assert (shown["name"], shown["metadata"]["node"]) == ("farpeek", "n1")
            assert shown["metadata"]["label.zone"] == "a"
            if verb == "STATS":
                by_name = {each["name"]: each for each in shown["endpoints"]}
                assert by_name["info"]["num_requests"] > 0


async def test_a_broker_that_keeps_nothing_is_told_of_with_the_cure(fleet: Fleet) -> None:
    async with fleet.broker.connection("admin") as admin:
        with pytest.raises(kept.NotKept, match="`farpeek fleet setup` has it do so"):
            await kept.message(admin, kept.SAMPLERS, "$KV.farpeek_samplers.alice.x")
