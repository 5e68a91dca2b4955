"""How many samplers one client keeps: what is more is looked at by no node, and told of."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nats.js.manager import JetStreamManager

from farpeek_api.bus import kept
from farpeek_api.bus.samplers import MOST_KEPT, Kept, Name, Wanted
from support.commands import Ran, run
from support.sampled import Place, new_place, put, states
from support.waiting import PATIENCE_S, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.broker import Broker

NOBODY = {"match": {"comm": "nobody-at-all"}, "regions": [["0x1000", 8]], "hz": 1}
MORE = 6


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with new_place() as made:
        yield made


def command(broker: Broker, user: str, *words: str) -> Ran:
    return run(*words, "--nats", broker.url(user), "--client", user)


def put_by_command(broker: Broker, user: str, name: str) -> Ran:
    what = ("comm=nobody-at-all", "--region", "0x1000", "8")
    return command(broker, user, "sampler", "put", name, *what)


@given(st.lists(st.sampled_from(["a", "b", "c"]), max_size=4 * MOST_KEPT))
def test_of_each_client_the_first_are_looked_at_and_the_others_counted(put: list[str]) -> None:
    found = Kept()
    for number, client in enumerate(put):
        found.add(Wanted(Name(client, str(number)), number, b""))
    for client in ("a", "b", "c"):
        all_of_it = [Name(client, str(n)) for n, each in enumerate(put) if each == client]
        looked_at = [name for name in found.wanted if name.client == client]
        assert looked_at == all_of_it[:MOST_KEPT]
        assert found.beyond.get(client, 0) == len(all_of_it[MOST_KEPT:])


async def put_too_many(broker: Broker) -> None:
    """As one who goes round the command; until the node knows of it."""
    async with broker.connection("alice") as alice:
        names = [f"s{number}" for number in range(MOST_KEPT + MORE)]
        for name in names:
            await put(alice, "alice", name, NOBODY)
    async with asyncio.timeout(PATIENCE_S):
        while len(await states(broker, "alice")) < MOST_KEPT:  # noqa: ASYNC110 - it asks the node
            await asyncio.sleep(0.05)


def test_a_client_keeps_no_more_than_it_may_and_is_told_what_to_do(place: Place) -> None:
    asyncio.run(put_too_many(place.broker))
    told = "more are kept than looked at"
    until(lambda: told in command(place.broker, "alice", "sampler", "ls").error, "it is counted")
    listed = command(place.broker, "alice", "sampler", "ls")
    assert len(listed.text.splitlines()) == MOST_KEPT
    refused = put_by_command(place.broker, "alice", "one-more")
    assert refused.status == 1
    assert f"{MOST_KEPT} are the most: take one away" in refused.error
    assert "farpeek sampler rm" in refused.error
    known = listed.text.split()[1]
    assert put_by_command(place.broker, "alice", known).status == 0, "it is there already"
    assert put_by_command(place.broker, "bob", "one").status == 0, "who else keeps few"


def test_whoever_sets_up_is_told_who_keeps_too_many_and_takes_them_away(place: Place) -> None:
    asyncio.run(put_too_many(place.broker))
    setup = ("fleet", "setup")
    told = command(place.broker, "admin", *setup)
    assert f"alice keeps {MOST_KEPT + MORE} samplers" in told.text
    assert "--forget alice" in told.text
    assert command(place.broker, "admin", *setup, "--forget", "up").status == 2
    assert "alice" not in command(place.broker, "admin", *setup, "--forget", "alice").text
    assert {each.subject.split(".")[2] for each in left(place.broker)} <= {"bob"}


def left(broker: Broker) -> list[kept.Message]:
    async def all_of_them() -> list[kept.Message]:
        async with broker.connection("admin") as admin:
            return [each async for each in kept.messages(admin, kept.SAMPLERS, kept.KEYS)]

    return asyncio.run(all_of_them())


def test_a_bucket_that_is_full_says_so_and_who_can_do_something(place: Place) -> None:
    """The last of this module: nothing more can be kept then."""

    async def fill() -> None:
        async with place.broker.connection("admin") as admin:
            manager = JetStreamManager(admin)
            there = (await manager.stream_info(kept.SAMPLERS)).config
            await manager.update_stream(there, max_msgs=1)  # pyright: ignore[reportUnknownMemberType] - nats-py leaves its parameters open

    put_by_command(place.broker, "bob", "one")
    asyncio.run(fill())
    full = put_by_command(place.broker, "bob", "two")
    assert full.status == 1
    assert "10000 samplers of all clients" in full.error
    assert "farpeek fleet setup" in full.error
