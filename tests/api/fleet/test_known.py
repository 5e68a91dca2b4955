"""What is known of a node: its own document, or the same from another, and never another one."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

import pytest

from farpeek_api.bus import known
from farpeek_api.bus.asking import Question
from farpeek_api.bus.known import Known
from farpeek_api.openapi import document
from support.broker import Broker
from support.folders import open_folder
from support.waiting import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from farpeek_api.bus.asking import Asking
    from support.fleet import Fleet

RIGHT = document.text()
PATH = "/v1/targets/1-1/writev"


@pytest.fixture(autouse=True)
def _nothing_is_known() -> Iterator[None]:
    known._SHARED.clear()  # noqa: SLF001 - it is all that this process knows, of other tests too
    yield
    known._SHARED.clear()  # noqa: SLF001 - the same


@pytest.fixture(scope="module")
def broker() -> Iterator[Broker]:
    with open_folder() as folder, Broker(folder) as made:
        yield made


@contextlib.asynccontextmanager
async def node(
    broker: Broker, name: str, text: bytes, claimed: str | None
) -> AsyncIterator[list[str]]:
    """Be a node with that document, which claims to have one of some digest; what it is asked."""
    asked: list[str] = []
    async with broker.connection(name) as connection:

        async def came(msg: Any) -> None:  # noqa: ANN401 - nats-py's
            operation = msg.subject.split(".")[4]
            if operation not in ("clock", "openapi"):
                return
            asked.append(operation)
            about = {} if claimed is None else {"document": claimed}
            payload = text if operation == "openapi" else json.dumps(about).encode()
            headers = {"Farpeek-Status": "200", "Farpeek-Chunk": "0", "Farpeek-Clock": "1"}
            headers |= {"Farpeek-End": "complete", "Farpeek-Bytes": str(len(payload))}
            await connection.publish(f"{msg.reply}.{name}", payload, headers=headers)

        await connection.subscribe(f"farpeek.v1.*.{name}.>", cb=came)
        await connection.flush()
        yield asked


async def changes(asking: Asking, name: str) -> bool:
    """Ask a node, and tell whether a write of it would be taken for one."""
    of_node = Known(name)
    await of_node.learn(asking)
    found = of_node.find("POST", PATH)
    assert found is not None
    return found.route.changes


def hostile() -> bytes:
    """Write a document by which writes are no writes."""
    return RIGHT.replace(b'"x-farpeek-changes": true', b'"x-farpeek-changes": false')


async def test_what_one_has_told_another_is_not_asked_for(broker: Broker) -> None:
    same = known.digest(RIGHT)
    async with (
        broker.asking() as alice,
        node(broker, "n1", RIGHT, same) as first,
        node(broker, "n2", RIGHT, same) as second,
        node(broker, "n3", RIGHT, None) as old,
    ):
        for name in ("n1", "n2", "n3"):
            assert await changes(alice, name)
        assert first == ["openapi"], "nothing was known: its digest is of no use"
        assert second == ["clock"]
        assert old == ["clock", "openapi"], "it does not tell a digest"


async def test_no_node_has_another_read_by_its_document(broker: Broker) -> None:
    right, wrong = known.digest(RIGHT), known.digest(hostile())
    assert right != wrong
    async with (
        broker.asking() as alice,
        node(broker, "n1", RIGHT, right),
        node(broker, "n2", hostile(), right),
        node(broker, "n3", hostile(), wrong),
        node(broker, "n4", b"{}", right),
    ):
        assert not await changes(alice, "n2"), "it says so of itself"
        assert await changes(alice, "n1"), "but of nobody else, whatever it claims"
        assert await changes(alice, "n2"), "it is taken at its word, too"
        assert not await changes(alice, "n3")
        assert await changes(alice, "n4")


async def test_what_is_missing_in_it_the_node_tells_itself(broker: Broker) -> None:
    """Its digest may be that of a service that was there before."""
    more = json.loads(RIGHT)
    more["paths"]["/v1/new"] = {"get": {"operationId": "new"}}
    text = json.dumps(more).encode()
    async with (
        broker.asking() as alice,
        node(broker, "n1", RIGHT, known.digest(RIGHT)),
        node(broker, "n2", text, known.digest(RIGHT)) as asked,
    ):
        await changes(alice, "n1")
        second = Known("n2")
        await second.learn(alice)
        assert (second.find("GET", "/v1/new"), asked) == (None, ["clock"])
        await second.learn(alice)
        assert second.find("GET", "/v1/new") is not None


async def test_documents_that_are_kept_are_few(broker: Broker) -> None:
    async with broker.asking() as alice:
        for number in range(40):
            text = RIGHT + b" " * number
            async with node(broker, "n1", text, known.digest(text)):
                await Known("n1").learn(alice)
        assert len(known._SHARED) <= 16  # noqa: SLF001 - what nobody sees


async def test_an_agent_tells_by_what_digest_its_document_goes(fleet: Fleet) -> None:
    async with fleet.broker.asking() as alice:
        text = b""
        for operation in ("openapi", "clock"):
            answer = await alice.ask("n1", Question(operation, timeout_s=PATIENCE_S))
            told = await answer.whole()
            await answer.close()
            text = text or told
        assert json.loads(told)["document"] == known.digest(text)
