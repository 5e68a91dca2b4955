"""`Fleet`: what many nodes say, as the client says it of one; who says nothing is named."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import pytest

from farpeek_api.client import (
    AsyncFleet,
    Fleet,
    Forbidden,
    NodeOffline,
    NoSuchTarget,
    UnknownNode,
    Unreachable,
)
from support.example_requests import COMM

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.fleet import Fleet as Real


@pytest.fixture(scope="module")
def fleet_of_alice(fleet: Real) -> Iterator[Fleet]:
    with Fleet(fleet.broker.url("alice"), client="alice") as made:
        yield made


def test_processes_of_all_nodes(fleet: Real, fleet_of_alice: Fleet) -> None:
    for chosen in ({"nodes": ["n1"]}, {"label": "zone=a"}, {"limit": 1}):
        answers = fleet_of_alice.processes(comm=COMM, **chosen)  # type: ignore[arg-type]  # of one kind each
        found = {each.node: each for each in answers}
        assert found["n1"].value is not None
        assert fleet.asking.process.pid in [each.pid for each in found["n1"].value]
        assert answers.outcome.answered == ["n1"]


def test_nodes_are_listed_with_what_they_are(fleet_of_alice: Fleet) -> None:
    (node,) = fleet_of_alice.nodes()
    assert (node.name, node.state, node.labels) == ("n1", "up", {"zone": "a"})
    assert node.text("version")
    assert [each.state for each in fleet_of_alice.nodes(nodes=["n1", "n9"])] == ["up", "unknown"]


def test_a_node_is_a_service_like_any_over_the_same_connection(
    fleet: Real, fleet_of_alice: Fleet
) -> None:
    peek = fleet_of_alice.node("n1")
    target = peek.target(fleet.asking.process.pid)
    assert len(target.read(fleet.asking.address, 8)) == 8
    with pytest.raises(UnknownNode, match="n9"):
        fleet_of_alice.node("n9").info()


def test_problems_are_exceptions_in_their_place(fleet_of_alice: Fleet) -> None:
    answers = fleet_of_alice.ask("get_target", "1-1", nodes=["n1", "n9"])
    found = {each.node: each for each in answers}
    assert isinstance(found["n1"].problem, NoSuchTarget)
    assert isinstance(found["n9"].problem, UnknownNode)
    assert (answers.outcome.refused, answers.outcome.silent) == (["n1"], ["n9"])


def test_a_write_goes_to_the_one_node_that_is_named(fleet: Real, fleet_of_alice: Fleet) -> None:
    place = hex(fleet.asking.address + 128)
    body = {"addresses": [place], "data": [base64.b64encode(b"one").decode()]}
    target = fleet_of_alice.node("n1").target(fleet.asking.process.pid)
    before = target.read(int(place, 16), 3)
    for chosen in ({}, {"label": "zone=a"}, {"nodes": ["n1", "n9"]}):
        answers = fleet_of_alice.ask("writev", target.id, body=body, **chosen)  # type: ignore[arg-type]  # of one kind each
        problems = {each.node: getattr(each.problem, "slug", "") for each in answers}
        assert problems["n1"] == "not-after-required"
        assert target.read(int(place, 16), 3) == before
    (written,) = fleet_of_alice.ask("writev", target.id, body=body, nodes=["n1"])
    assert written.value["written"] == 3
    assert target.read(int(place, 16), 3) == b"one"


def test_what_cannot_be_meant_is_told(fleet: Real, fleet_of_alice: Fleet) -> None:
    with pytest.raises(ValueError, match="give one of both"):
        fleet_of_alice.ask("info", nodes=["n1"], label="zone=a")
    for wrong in ("n*", "all", "N1", "n" * 4096):
        with pytest.raises(ValueError, match="name"):
            fleet_of_alice.ask("info", nodes=[wrong])
    with pytest.raises(ValueError, match="limit"):
        fleet_of_alice.ask("info", limit=0)
    with Fleet(fleet.broker.url("alice"), client="bob") as other, pytest.raises(Forbidden):
        list(other.ask("info"))
    with Fleet("nats://x:secret@127.0.0.1:1", client="alice") as nowhere:
        with pytest.raises(Unreachable) as error:
            nowhere.nodes()
        assert "secret" not in str(error.value)


async def test_whoever_awaits_has_the_same(fleet: Real) -> None:
    async with AsyncFleet(fleet.broker.url("alice"), client="alice") as peek:
        answers = peek.processes(comm=COMM)
        found = {each.node: each.value async for each in answers}
        assert found["n1"]
        assert (await peek.node("n1").info())["api"] == "v1"
    assert issubclass(NodeOffline, Unreachable)
