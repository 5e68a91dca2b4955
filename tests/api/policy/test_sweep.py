"""Every route of the table, and every message of a stream, by clients that may not use it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

import pytest

from farpeek_api.operations import OPERATIONS
from farpeek_api.operations.operation import Entrance
from farpeek_api.policy import tokens
from farpeek_api.policy.verbs import Verb
from farpeek_api.stream import messages
from support.example_requests import COMM, UID, Asking
from support.folders import open_folder
from support.policies import ALL_VERBS, EVERYTHING, As, Policed, entry
from support.targets import start

if TYPE_CHECKING:
    from collections.abc import Iterator

    from farpeek_api.operations.operation import Operation
    from support.wire import Reply

TOKENS = {name: tokens.make() for name in ("all", "other", "expired", "agent", *Verb)}
POLICY = (
    entry("all", TOKENS["all"], rest=f"targets = {EVERYTHING}")
    + entry("other", TOKENS["other"], rest="targets = [{ uid = 4242 }]")
    + entry(
        "expired", TOKENS["expired"], rest=f"targets = {EVERYTHING}\nexpires = 2020-01-01T00:00:00Z"
    )
    + "".join(
        entry(
            f"without-{verb}",
            TOKENS[verb],
            [each for each in ALL_VERBS if each != verb],
            f"targets = {EVERYTHING}",
        )
        for verb in Verb
    )
    + f"""
[clients.agent]
token_sha256 = ["{tokens.digest(TOKENS["agent"])}"]
verbs = ["metrics"]
impersonate = ["all", "other", "expired", {", ".join(f'"without-{verb}"' for verb in Verb)}]
"""
)
WITH_VERB = [each for each in OPERATIONS if each.verb is not None]
GUARDED = [each for each in OPERATIONS if each.entrance is Entrance.GUARDED]
ABOUT_TARGETS = [each for each in OPERATIONS if each.path.startswith("/v1/targets/{id}")]


@dataclass(frozen=True)
class Swept:
    service: Policed
    asking: Asking

    def put(
        self,
        operation: Operation,
        token: str | None,
        path: str | None = None,
        behalf: str | None = None,
    ) -> Reply:
        """Put a request that is good but for who puts it, perhaps on ``behalf`` of another."""
        example = operation.examples[0] if operation.examples else None
        body = None if operation.body is None else {}
        headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
        if behalf is not None:
            headers["Farpeek-On-Behalf-Of"] = behalf
        if example is not None and example.body is not None:
            body = self.asking.ours(example.body)
        if "Range" in operation.headers:
            headers["Range"] = f"bytes={self.asking.address}-{self.asking.address + 7}"
        path = (path or self.asking.path(operation)) + self.asking.needed(operation)
        return self.service.request(operation.method, path, body, headers)


@pytest.fixture(scope="module")
def swept() -> Iterator[Swept]:
    with (
        open_folder() as made,
        Policed(made, POLICY, "--allow-writes") as service,
        start("plain", "--name", COMM, "--uid", UID) as process,
    ):
        asking = Asking(As(service, TOKENS["all"]), process)  # type: ignore[arg-type]  # what it uses of a service
        yield Swept(service, asking)


def name(value: object) -> str:
    return str(getattr(value, "id", value))


def without_ids(reply: Reply) -> str:
    text = re.sub(rb'"request_id":"[^"]*"', b"", reply.body).decode()
    return re.sub(r"\d+-\d+", "ID", text)


@pytest.mark.parametrize("operation", GUARDED, ids=name)
@pytest.mark.parametrize(
    "token",
    [None, tokens.make(), "nonsense", TOKENS["expired"]],
    ids=["none", "unknown", "nonsense", "expired"],
)
def test_nobody_gets_in_without_a_credential_that_counts(
    swept: Swept, operation: Operation, token: str | None
) -> None:
    """The tests are root, whom this policy does not name."""
    assert swept.put(operation, token).status == 401


@pytest.mark.parametrize("operation", WITH_VERB, ids=name)
def test_who_lacks_the_verb_is_told_so_and_where(swept: Swept, operation: Operation) -> None:
    assert operation.verb is not None
    reply = swept.put(operation, TOKENS[operation.verb])
    assert reply.status == 403
    if operation.method != "HEAD":
        assert reply.slug == "forbidden"
        assert reply.json["verb"] == operation.verb
        assert reply.json["rule"].startswith(f"clients.without-{operation.verb}.verbs, line ")


@pytest.mark.parametrize("operation", GUARDED, ids=name)
def test_nobody_asks_for_one_for_whom_the_policy_does_not_let_it(
    swept: Swept, operation: Operation
) -> None:
    for token, behalf, rule in (
        (TOKENS["all"], "other", "clients.all, line "),
        (TOKENS["other"], "all", "clients.other, line "),
        (TOKENS["agent"], "agent", "clients.agent.impersonate, line "),
        (TOKENS["agent"], "nobody", "clients.agent.impersonate, line "),
        (TOKENS["agent"], "expired", "clients.expired.expires, line "),
    ):
        reply = swept.put(operation, token, behalf=behalf)
        assert reply.status == 403
        if operation.method != "HEAD":
            assert (reply.slug, reply.json["verb"]) == ("forbidden", "impersonate")
            assert reply.json["rule"].startswith(rule)


@pytest.mark.parametrize("operation", GUARDED, ids=name)
def test_who_asks_for_another_may_do_what_that_one_may_and_nothing_else(
    swept: Swept, operation: Operation
) -> None:
    """The agent itself sees no process, and has one verb alone."""
    agent = TOKENS["agent"]
    if operation.verb is not None:
        refused = swept.put(operation, agent, behalf=f"without-{operation.verb}")
        assert refused.status == 403
        if operation.method != "HEAD":
            assert refused.json["rule"].startswith(f"clients.without-{operation.verb}.verbs, line ")
    if operation in ABOUT_TARGETS:
        assert swept.put(operation, agent, behalf="other").status == 404
    if not operation.is_endless and operation.id not in ("release", "delete_match"):
        own = swept.put(operation, TOKENS["all"])
        assert swept.put(operation, agent, behalf="all").status == own.status


@pytest.mark.parametrize("operation", GUARDED, ids=name)
def test_who_has_all_other_verbs_lacks_none(swept: Swept, operation: Operation) -> None:
    if operation.is_endless or operation.id in ("release", "delete_match"):
        return  # they would not end, or end what others need
    for verb in {*Verb} - {operation.verb, Verb.READ}:
        assert swept.put(operation, TOKENS[verb]).status not in (401, 403)


@pytest.mark.parametrize("operation", ABOUT_TARGETS, ids=name)
def test_a_hidden_target_is_answered_as_one_that_is_not_there(
    swept: Swept, operation: Operation
) -> None:
    hidden = swept.put(operation, TOKENS["other"])
    absent = swept.put(operation, TOKENS["other"], operation.path.format(id="4242-8812345"))
    assert hidden.status == absent.status == 404
    assert without_ids(hidden) == without_ids(absent)
    assert hidden.headers.keys() == absent.headers.keys()


@pytest.mark.parametrize("operation", GUARDED, ids=name)
def test_no_answer_names_what_its_client_may_not_see(swept: Swept, operation: Operation) -> None:
    if operation.is_endless or operation.id == "readv_many":
        return  # that one says which target each problem is about, in the words of the request
    reply = swept.put(operation, TOKENS["other"], operation.path.format(id="x", name="init.js"))
    assert swept.asking.target.encode() not in reply.body
    assert b'"pid":%d' % swept.asking.process.pid not in reply.body
    if operation.id == "info":
        assert reply.json["targets"] == {"running": 0, "exited": 0}


def test_every_message_of_a_stream_has_a_verb_or_says_that_it_needs_none() -> None:
    assert set(messages.VERBS) == set(get_args(messages.Message))
    assert [kind for kind, verb in messages.VERBS.items() if verb is None] == [messages.Unsubscribe]


@pytest.mark.parametrize("kind", ["read", "plan", "subscribe", "subscribe to a plan"])
def test_messages_of_a_stream_are_judged_one_by_one(swept: Swept, kind: str) -> None:
    at = hex(swept.asking.address)
    where: dict[str, object] = {"addresses": [at], "lengths": [8]}
    if "plan" in kind:
        where = {"plan": {"steps": [{"id": "a", "read": "u64", "at": at}]}}
    what = {"target": swept.asking.target, **where}
    message = (
        {"id": 1, "subscribe": {"hz": 1, **what}} if "subscribe" in kind else {"id": 1, **what}
    )
    with As(swept.service, TOKENS["read"]).stream() as ws:
        shown, _ = ws.ask(message)
        assert shown["problem"]["verb"] == "read"
        assert shown["problem"]["type"] == "urn:farpeek:problem:forbidden"
    with As(swept.service, TOKENS["other"]).stream() as ws:
        shown, data = ws.ask(message)
        assert shown["problem"]["type"] == "urn:farpeek:problem:no-such-target"
        assert not data
    with As(swept.service, TOKENS["all"]).stream() as ws:
        assert "problem" not in ws.ask(message)[0]
