"""Samplers: put once, run by each node for whoever has put them, and never more than they may."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import nats.errors
import pytest
from hypothesis import given
from hypothesis import strategies as st

from farpeek_api.bus import messages, samplers
from farpeek_api.bus.samplers import Name, Sampler, Wanted, WrongSampler
from farpeek_api.client import framing
from support.commands import Ran, run
from support.fleet import ALICE, POLICY
from support.policies import As
from support.sampled import Place, gone, new_place, of, put, remove, samples, state_of
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"hz": 0}, "`hz`: Input should be greater than 0"),
        ({"hz": None}, "`hz`"),
        ({"match": {}}, "`match`: say what a process is"),
        ({"match": {"name": "x"}}, "`match.name`"),
        ({"regions": [["0xg", 1]]}, "'0xg' is no address"),
        ({"regions": [[1, 40_000], [1, 40_000]]}, "more than 65536 bytes"),
        ({"regions": []}, "`regions`"),
        ({"plan": {}}, "either `regions` or `plan`"),
        ({"mode": "later"}, "`mode`"),
        ({"until": "2030-01-01T00:00:00"}, "`until`"),
        ({"more": 1}, "`more`"),
    ],
)
def test_what_is_wrong_is_named(changed: dict[str, object], told: str) -> None:
    right = {"match": {"comm": "x"}, "regions": [["0x10", 8]], "hz": 1}
    assert samplers.parse(json.dumps(right).encode()).regions == [("0x10", 8)]
    with pytest.raises(WrongSampler) as error:
        samplers.parse(json.dumps({**right, **changed}).encode())
    assert told in str(error.value)


_SAMPLERS = st.lists(
    st.tuples(st.sampled_from(["a", "b"]), st.floats(1, 100)), max_size=3 * samplers.MOST
)


@given(_SAMPLERS)
def test_a_node_runs_what_was_put_first_within_the_bounds(put: list[tuple[str, float]]) -> None:
    offered = [
        (
            Wanted(Name(client, str(number)), number, b""),
            Sampler.model_construct(hz=hz),
        )
        for number, (client, hz) in enumerate(put)
    ]
    runs = samplers.admitted(reversed(offered))
    assert len(runs) <= samplers.MOST
    for client in ("a", "b"):
        those = [(each.name in runs, of.hz) for each, of in offered if each.name.client == client]
        rates = [hz for is_run, hz in those if is_run]
        assert len(rates) <= samplers.MOST_OF_ONE
        assert sum(rates) <= samplers.MOST_HZ
        assert not those or those[0][0], "the first of each client is run"


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with new_place() as made:
        yield made


async def test_samples_come_numbered_until_the_sampler_is_taken_away(place: Place) -> None:
    async with (
        place.broker.connection("alice") as alice,
        samples(alice, "alice", "first") as came,
    ):
        await put(alice, "alice", "first", of(place.process))
        numbers = []
        for _ in range(5):
            msg = await came.get()
            assert msg.headers is not None
            shown, data = framing.split_frame(msg.data)
            assert bytes(data) == place.process.bytes(0, 8)
            assert shown.number("tick") > 0
            assert msg.subject == "farpeek.v1.up.n1.samples.alice.first"
            numbers.append(int(msg.headers[messages.NUMBER]))
        assert numbers == list(range(5))
        about = await state_of(place, "alice", "first", "running")
        assert about["targets"] == 1
        held = As(place.service, ALICE).request("GET", "/v1/matches").json["matches"]
        assert [each["held"] for each in held] == [1]

        await put(alice, "alice", "first", of(place.process, regions=[[place.process.address, 4]]))
        while len(framing.split_frame((await came.get()).data)[1]) != 4:
            pass
        await remove(alice, "alice", "first")
        await gone(place, "alice", "first")
        held = As(place.service, ALICE).request("GET", "/v1/matches").json["matches"]
        assert not held, "nothing is held for it any more"


async def test_a_client_samples_what_it_may_read_and_in_its_own_name(place: Place) -> None:
    async with place.broker.connection("bob") as bob:
        with pytest.raises(nats.errors.TimeoutError):
            await bob.request(samplers.check("alice", "x").key, b"{}", timeout=1)
        await put(bob, "bob", "others", of(place.process))
        about = await state_of(place, "bob", "others", "refused")
        assert "forbidden" in about["detail"]
        await remove(bob, "bob", "others")
    async with place.broker.connection("mallory") as mallory:
        await put(mallory, "mallory", "x", of(place.process))
        await state_of(place, "mallory", "x", "refused")
        await remove(mallory, "mallory", "x")


async def test_what_makes_no_sense_is_said_and_what_is_over_is_not_run(place: Place) -> None:
    async with place.broker.connection("alice") as alice:
        await put(alice, "alice", "wrong", of(place.process, hz=0))
        assert "`hz`" in (await state_of(place, "alice", "wrong", "wrong"))["detail"]
        past = datetime.now(UTC) - timedelta(seconds=1)
        await put(alice, "alice", "old", of(place.process, until=past.isoformat()))
        await state_of(place, "alice", "old", "over")
        soon = datetime.now(UTC) + timedelta(seconds=2)
        await put(alice, "alice", "soon", of(place.process, until=soon.isoformat()))
        await state_of(place, "alice", "soon", "over")
        for name in ("wrong", "old", "soon"):
            await remove(alice, "alice", name)


async def test_a_right_that_is_taken_away_ends_it_and_one_that_is_given_begins_it(
    place: Place,
) -> None:
    async with place.broker.connection("alice") as alice:
        await put(alice, "alice", "mine", of(place.process))
        await state_of(place, "alice", "mine", "running")
        without = POLICY.replace("impersonate = ['alice', 'bob']", "impersonate = ['bob']")
        assert without != POLICY
        place.service.reload(without)
        try:
            refused = await state_of(place, "alice", "mine", "refused")
            assert "forbidden" in refused["detail"]
        finally:
            place.service.reload(POLICY)
        async with samples(alice, "alice", "mine") as came:
            await came.get()
        await remove(alice, "alice", "mine")
        await gone(place, "alice", "mine")


async def test_what_is_too_much_is_dropped_and_counted(place: Place) -> None:
    async with (
        place.broker.connection("alice") as alice,
        samples(alice, "alice", "much") as came,
    ):
        most = [[place.process.address, 65_536]]
        await put(alice, "alice", "much", of(place.process, regions=most, hz=100))
        numbers = []
        dropped = 0
        while not dropped:
            headers = (await came.get()).headers
            assert headers is not None
            numbers.append(int(headers[messages.NUMBER]))
            dropped = int(headers[messages.DROPPED])
        assert numbers == list(range(len(numbers))), "what was dropped had no number"
        await remove(alice, "alice", "much")


def test_the_command_puts_shows_and_takes_away(place: Place) -> None:
    def sampler(*words: str, user: str = "alice") -> Ran:
        return run("sampler", *words, "--nats", place.broker.url(user), "--client", user)

    which = f"ns_pid={place.process.pid}"
    region = ("--region", hex(place.process.address), "16")
    assert sampler("put", "mine", which, *region, "--hz", "50", "--until", "1h").status == 0
    shown = sampler("tail", "mine", "--count", "3")
    assert shown.status == 0, shown.error
    assert len(shown.text.splitlines()) == 3
    assert place.process.bytes(0, 16).hex() in shown.text
    first = json.loads(sampler("tail", "mine", "--count", "1", "--json").text)
    assert (first["node"], first["data"]) == ("n1", place.process.bytes(0, 16).hex())
    until(lambda: "n1  mine  running  1 targets" in sampler("ls").text, "it is run")
    assert json.loads(sampler("ls", "--json").text)["name"] == "mine"
    assert not sampler("ls", user="bob").text, "it is alice's alone"
    assert sampler("rm", "mine").status == 0
    until(lambda: not sampler("ls").text, "it is gone")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("put",), "which sampler?"),
        (("put", "a"), "which processes?"),
        (("put", "A", "comm=x", "--region", "1", "1"), "no sampler's name"),
        (("put", "a", "comm=x"), "either `regions` or `plan`"),
        (("put", "a", "comm=x", "--region", "libc+1", "1"), "all nodes have"),
        (("put", "a", "comm=x", "--region", "1", "1", "--until", "soon"), "is no time"),
        (("put", "a", "--file", "/nowhere"), "/nowhere"),
        (("ls", "--client", "up"), "no client's name"),
    ],
)
def test_wrong_words_are_told_of(place: Place, words: tuple[str, ...], told: str) -> None:
    more = () if "--client" in words else ("--client", "alice")
    ran = run("sampler", *words, *more, "--nats", place.broker.url("alice"))
    assert ran.status == 2
    assert told in ran.error
