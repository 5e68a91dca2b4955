"""One request to many nodes: each answer is its node's own, whole, and nobody is left out."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING, Any

import pytest

from farpeek_api.bus import holding
from farpeek_api.bus import scatter as module
from farpeek_api.bus.asking import Asking, Question
from farpeek_api.bus.problems import (
    BROKEN,
    DEADLINE,
    LOST,
    NOBODY,
    NOT_PERMITTED,
    OUTCOME_UNKNOWN,
    TOO_LARGE,
    Refusal,
)
from farpeek_api.bus.replies import Reply, Whom
from farpeek_api.bus.scatter import Scatter
from support.waiting import PATIENCE_S, aio_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from nats.aio.client import Client

    from support.fleet import Fleet

    Answers = Callable[[Client, Any], Awaitable[None]]

INFO = Question("info")
EVERYBODY = Whom.everybody()
SETTLE_S = PATIENCE_S / 30
"""How long a roll call waits for one more node, on a machine that is slow."""


async def all_of(scatter: Scatter) -> dict[str, Reply]:
    found: dict[str, Reply] = {}
    async for each in scatter:
        assert each.node not in found, "each node is told of once"
        found[each.node] = each
    return found


def saying(*said: tuple[bytes, Mapping[str, str]], name: str) -> Answers:
    """Have a node answer with some messages, under the name that it has or would like to have."""

    async def answer(node: Client, msg: Any) -> None:  # noqa: ANN401 - nats-py's
        for payload, headers in said:
            await node.publish(f"{msg.reply}.{name}", payload, headers=dict(headers))

    return answer


def whole(name: str, payload: bytes = b"{}") -> Answers:
    return saying((payload, said(0, End="complete", Bytes=str(len(payload)))), name=name)


def said(number: int, **headers: str) -> Mapping[str, str]:
    shown = {f"Farpeek-{name}": value for name, value in headers.items()}
    return {"Farpeek-Status": "200", "Farpeek-Chunk": str(number), **shown}


@contextlib.asynccontextmanager
async def node(fleet: Fleet, name: str, answers: Answers) -> AsyncIterator[Client]:
    """Be a node that answers to roll calls as an agent does, and to all else as it likes."""
    async with fleet.broker.connection(name) as connection:

        async def came(msg: Any) -> None:  # noqa: ANN401 - nats-py's
            if msg.subject.endswith(".clock"):
                await whole(name)(connection, msg)
            elif msg.reply and msg.subject.split(".")[4] != "credit":
                await answers(connection, msg)

        for each in (name, "all"):
            await connection.subscribe(f"farpeek.v1.*.{each}.>", cb=came)
        await connection.flush()
        yield connection


async def silent(_: Client, __: Any) -> None:  # noqa: ANN401 - nats-py's
    pass


async def test_all_are_asked_and_told_of(fleet: Fleet) -> None:
    async with (
        fleet.broker.asking() as alice,
        node(fleet, "n2", whole("n2")),
        node(fleet, "n3", silent),
    ):
        scatter = Scatter(alice, INFO, EVERYBODY, timeout_s=PATIENCE_S / 10)
        found = await all_of(scatter)
    assert json.loads(found["n1"].body)["api"] == "v1"
    assert (found["n2"].status, found["n2"].body) == (200, b"{}")
    assert found["n3"].refusal is not None
    assert found["n3"].refusal.kind is DEADLINE
    outcome = scatter.outcome
    assert (sorted(outcome.answered), outcome.silent) == (["n1", "n2"], ["n3"])


async def test_it_ends_as_soon_as_all_have_answered(fleet: Fleet) -> None:
    async with fleet.broker.asking() as alice, node(fleet, "n2", whole("n2")):
        for whom in (Whom.named(["n1", "n2"]), EVERYBODY, Whom.group("zone", "a")):
            async with asyncio.timeout(PATIENCE_S):
                scatter = Scatter(alice, INFO, whom, timeout_s=PATIENCE_S * 2, settle_s=SETTLE_S)
                found = await all_of(scatter)
            assert found.keys() == ({"n1"} if whom.label else {"n1", "n2"})


async def test_no_node_answers_in_the_name_of_another(fleet: Fleet) -> None:
    forge = saying((b"forged", said(0, End="complete", Bytes="6")), name="n1")

    async def both(connection: Client, msg: Any) -> None:  # noqa: ANN401 - nats-py's
        await forge(connection, msg)
        await whole("n2", b"own")(connection, msg)

    async with fleet.broker.asking() as alice, node(fleet, "n2", both) as forger:
        scatter = Scatter(alice, INFO, EVERYBODY, timeout_s=PATIENCE_S, settle_s=SETTLE_S)
        found = await all_of(scatter)
        await aio_until(lambda: forger.errors, "the broker has told it")  # type: ignore[attr-defined]  # support.fleet's
        assert "permissions violation" in str(forger.errors[0]).lower()  # type: ignore[attr-defined]  # the same
    assert json.loads(found["n1"].body)["api"] == "v1"
    assert found["n2"].body == b"own"


async def test_what_was_not_asked_or_is_kept_is_no_answer(fleet: Fleet) -> None:
    asked: list[Any] = []

    async def seen(_: Client, msg: Any) -> None:  # noqa: ANN401 - nats-py's
        asked.append(msg)

    async with (
        fleet.broker.asking() as alice,
        node(fleet, "n2", seen) as one,
        fleet.broker.connection("n3") as other,
    ):
        for whom in (Whom.named(["n2"]), EVERYBODY):
            asked.clear()
            scatter = Scatter(alice, INFO, whom, timeout_s=PATIENCE_S, settle_s=SETTLE_S)
            running = asyncio.create_task(all_of(scatter))
            await aio_until(lambda: asked, "n2 is asked")
            end = said(0, End="complete", Bytes="0")
            await one.publish(f"{asked[0].reply}.n2", b"", headers={**end, "Nats-Stream": "S"})
            if whom.nodes:
                await other.publish(f"{asked[0].reply}.n3", b"", headers=dict(end))
                await other.flush()
            await whole("n2", b"own")(one, asked[0])
            found = await running
            assert found["n2"].body == b"own"
            assert "n3" not in found


@pytest.mark.parametrize(
    "messages",
    [
        [(b"", said(1, End="complete", Bytes="0"))],
        [(b"1", said(0, End="complete", Bytes="9"))],
        [(b"1", said(0, End="cut", Bytes="1"))],
        [(b"", {**said(0, End="complete", Bytes="0"), "Farpeek-Clock": "soon"})],
        [(b"", {**said(0, End="complete", Bytes="0"), "Farpeek-Status": "-1"})],
        [(b"", {**said(0, End="complete", Bytes="0"), "Farpeek-Status": "99"})],
        [(b"", {**said(0), "X": "x" * 20_000})],
        [(b"x" * 600_000, said(0))],
        [(b"", said(0)), *[(b"x", said(each)) for each in range(1, 100)]],
        [(b"", said(0)), *[(b"", {"Farpeek-Taken": "1"})] * 1000],
        [(b"not JSON", said(0, End="problem", Bytes="0"))],
    ],
)
async def test_what_is_no_whole_answer_is_none_and_harms_no_other(
    fleet: Fleet, messages: list[tuple[bytes, Mapping[str, str]]]
) -> None:
    async with (
        fleet.broker.asking() as alice,
        node(fleet, "n2", saying(*messages, name="n2")),
        node(fleet, "n3", whole("n3")),
    ):
        scatter = Scatter(alice, INFO, Whom.named(["n1", "n2", "n3"]), timeout_s=PATIENCE_S)
        found = await all_of(scatter)
    assert {"n1", "n3"} <= set(scatter.outcome.answered), found
    refusal = found["n2"].refusal
    assert refusal is not None
    assert refusal.kind.slug == BROKEN.slug


async def test_a_flood_among_the_answers_of_all_harms_no_other(fleet: Fleet) -> None:
    flood = saying(
        (b"", said(0)), *[(b"x" * 1000, said(each)) for each in range(1, 1000)], name="n2"
    )
    async with (
        fleet.broker.asking() as alice,
        node(fleet, "n2", flood),
        node(fleet, "n3", whole("n3")),
    ):
        scatter = Scatter(alice, INFO, EVERYBODY, timeout_s=PATIENCE_S, settle_s=SETTLE_S)
        found = await all_of(scatter)
    assert {"n1", "n3"} <= set(scatter.outcome.answered), found
    assert found["n2"].status == BROKEN.status


async def endless(connection: Client, msg: Any) -> None:  # noqa: ANN401 - nats-py's
    """Send what is asked for by credit, and never an end."""
    await connection.publish(f"{msg.reply}.n2", b"", headers=dict(said(0)))

    async def more(word: Any) -> None:  # noqa: ANN401 - nats-py's
        upto = int(word.headers["Farpeek-Credit"])
        for number in range(sent[0], upto):
            sent[0] = number + 1
            await connection.publish(
                f"{msg.reply}.n2", b"x" * (512 << 10), headers=dict(said(number))
            )

    sent = [1]
    await connection.subscribe(f"farpeek.v1.alice.n2.credit.{msg.reply.split('.')[-1]}", cb=more)


async def test_an_answer_without_an_end_ends(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    for each in (module, holding):
        monkeypatch.setattr(each, "MOST_EACH", 2 << 20)
    async with fleet.broker.asking() as alice, node(fleet, "n2", endless):
        found = await all_of(
            Scatter(alice, INFO, EVERYBODY, timeout_s=PATIENCE_S, settle_s=SETTLE_S)
        )
    assert json.loads(found["n1"].body)["api"] == "v1"
    assert found["n2"].refusal is not None
    assert found["n2"].refusal.kind.slug in (TOO_LARGE.slug, BROKEN.slug)


async def test_what_nobody_takes_is_not_kept(fleet: Fleet) -> None:
    async with (
        fleet.broker.asking() as alice,
        node(fleet, "n2", whole("n2", b"x" * (200 << 10))),
        node(fleet, "n3", whole("n3", b"x" * (200 << 10))),
    ):
        whom = Whom.named(["n2", "n3"])
        scatter = Scatter(alice, INFO, whom, timeout_s=PATIENCE_S, most=256 << 10)
        replies = aiter(scatter)
        first = await anext(replies)
        await aio_until(lambda: len(scatter._over) == 2, "both have answered")  # noqa: SLF001 - nobody takes the second
        second = await anext(replies)
        await replies.aclose()
    by_how = {each.how: each for each in (first, second)}
    assert by_how["answered"].body == b"x" * (200 << 10)
    refusal = by_how["silent"].refusal
    assert refusal is not None
    assert refusal.kind is TOO_LARGE


async def test_the_services_own_refusals_are_refusals(fleet: Fleet) -> None:
    async with fleet.broker.asking() as alice:
        scatter = Scatter(alice, Question("get_target", "1-1"), Whom.named(["n1"]))
        found = await all_of(scatter)
        assert json.loads(found["n1"].body)["type"].endswith(":no-such-target")
        assert scatter.outcome.refused == ["n1"]
        scatter = Scatter(alice, Question("nonsense"), EVERYBODY, settle_s=SETTLE_S)
        found = await all_of(scatter)
        assert json.loads(found["n1"].body)["type"].endswith(":unknown-operation")
        assert scatter.outcome.refused == ["n1"]


async def test_a_node_that_is_not_there_is_told_of_at_once(fleet: Fleet) -> None:
    async with fleet.broker.asking() as alice:
        scatter = Scatter(alice, INFO, Whom.named(["n1", "n9"]), timeout_s=PATIENCE_S * 2)
        async with asyncio.timeout(PATIENCE_S):
            found = await all_of(scatter)
    assert found["n9"].refusal is not None
    assert found["n9"].refusal.kind is NOBODY
    assert (scatter.outcome.answered, scatter.outcome.silent) == (["n1"], ["n9"])


async def test_what_the_broker_does_not_allow_is_told_at_once(fleet: Fleet) -> None:
    asking: list[Asking] = []
    async with fleet.broker.connection("alice", asking) as connection:
        asking.append(Asking(connection, "bob"))
        # Bob's inbox is closed to alice, too; what is asked is refused all the same.
        for whom in (EVERYBODY, Whom.named(["n1"])):
            scatter = Scatter(asking[0], INFO, whom, timeout_s=PATIENCE_S * 2)
            async with asyncio.timeout(PATIENCE_S):
                if whom.nodes:
                    found = await all_of(scatter)
                    assert found["n1"].refusal is not None
                    assert found["n1"].refusal.kind is NOT_PERMITTED
                    assert scatter.outcome.refused == ["n1"]
                else:
                    with pytest.raises(Refusal, match="does not let 'bob'") as error:
                        await all_of(scatter)
                    assert error.value.kind is NOT_PERMITTED


async def test_a_write_goes_to_no_more_than_one(fleet: Fleet) -> None:
    async with fleet.broker.asking() as alice:
        late = Question("writev", "1-1", not_after=1 << 62)
        for whom in (EVERYBODY, Whom.group("zone", "a"), Whom.named(["n1", "n2"])):
            with pytest.raises(ValueError, match="name that one"):
                Scatter(alice, late, whom)
            found = await all_of(Scatter(alice, Question("writev", "1-1"), whom))
            assert json.loads(found["n1"].body)["type"].endswith(":not-after-required")


async def test_of_a_write_that_nobody_answers_nobody_knows_whether_it_was_done(
    fleet: Fleet,
) -> None:
    late = Question("writev", "1-1", not_after=1 << 62)
    async with (
        fleet.broker.asking() as alice,
        node(fleet, "n2", silent),
        node(fleet, "n3", saying((b"{", said(0)), name="n3")),
    ):
        for name in ("n2", "n3"):
            scatter = Scatter(alice, late, Whom.named([name]), timeout_s=PATIENCE_S / 30)
            found = await all_of(scatter)
            refusal = found[name].refusal
            assert refusal is not None
            assert (refusal.kind, found[name].how) == (OUTCOME_UNKNOWN, "silent")
        gone = await all_of(Scatter(alice, late, Whom.named(["n9"]), timeout_s=PATIENCE_S))
        assert gone["n9"].refusal is not None
        assert gone["n9"].refusal.kind is NOBODY, "it was done by nobody"


def test_whom_has_names_that_are_names() -> None:
    assert Whom.named(["n1", "n2", "n1"]).nodes == ("n1", "n2")
    for wrong in ([], ["all"], ["n*"], ["n1", "n.2"], ["n" * 4096], [f"n{n}" for n in range(5000)]):
        with pytest.raises(ValueError, match="name"):
            Whom.named(wrong)
    for key, value in (("zone", "*"), ("*", "a"), ("a.b", "c"), ("zone", "x" * 4096)):
        with pytest.raises(ValueError, match="label"):
            Whom.group(key, value)


async def test_whoever_stops_listening_has_it_ended(fleet: Fleet) -> None:
    cancelled: list[str] = []
    async with fleet.broker.asking() as alice, node(fleet, "n2", silent) as other:

        async def came(msg: Any) -> None:  # noqa: ANN401 - nats-py's
            cancelled.append(msg.subject)

        await other.subscribe("farpeek.v1.*.all.cancel.*", cb=came)
        await other.flush()
        replies = aiter(Scatter(alice, INFO, EVERYBODY, timeout_s=PATIENCE_S, settle_s=SETTLE_S))
        assert (await anext(replies)).node == "n1"
        await replies.aclose()
        await aio_until(lambda: cancelled, "n2 is told")


async def test_the_end_of_the_broker_is_told_behind_what_has_come(fleet: Fleet) -> None:
    """The last test of this module: its agent has to connect again."""
    async with fleet.broker.asking() as alice, node(fleet, "n2", silent):
        whom = Whom.named(["n1", "n2"])
        scatter = Scatter(alice, INFO, whom, timeout_s=PATIENCE_S * 2)
        found: dict[str, Reply] = {}
        replies = aiter(scatter)
        found["n1"] = await anext(replies)
        fleet.broker.end()
        found["n2"] = await anext(replies)
        with pytest.raises(Refusal) as error:
            await anext(replies)
    assert error.value.kind is LOST
    assert (found["n1"].how, found["n2"].how) == ("answered", "silent")
    assert (scatter.outcome.answered, scatter.outcome.silent) == (["n1"], ["n2"])
