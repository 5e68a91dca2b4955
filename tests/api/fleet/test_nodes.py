"""A node through the broker is a service like any: the same names, results and errors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from farpeek_api.client import (
    AsyncClient,
    Client,
    Forbidden,
    Interrupted,
    NoSuchProcess,
    Unreachable,
)
from support.commands import run
from support.example_requests import COMM
from support.fleet import ALICE
from support.sample import Sample
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.fleet import Fleet

SIZE = 3 << 20


@pytest.fixture(scope="module")
def sample() -> Iterator[Sample]:
    with Sample(SIZE) as process:
        yield process


@pytest.fixture(scope="module")
def peek(fleet: Fleet) -> Iterator[Client]:
    with Client(nats=fleet.broker.url("alice"), node="n1", client="alice") as made:
        yield made


@pytest.fixture(scope="module")
def here(fleet: Fleet) -> Iterator[Client]:
    with Client(f"unix:{fleet.service.path}", token=ALICE) as made:
        yield made


def test_what_is_there_is_there_through_the_broker(
    fleet: Fleet, peek: Client, here: Client
) -> None:
    pid, address = fleet.asking.process.pid, fleet.asking.address
    there, same = peek.target(pid), here.target(pid)
    assert there.id == same.id
    assert there.read(address, 64) == same.read(address, 64)
    result = there.readv([(address, 8), (0x1000, 8)])
    assert (result.complete, result.gaps) == (False, same.readv([(address, 8), (0x1000, 8)]).gaps)
    assert there.maps() == same.maps()
    for either in (peek, here):
        assert pid in [each.pid for each in either.processes(comm=COMM)]
    assert peek.info()["version"] == here.info()["version"]


def test_a_write_is_done_once(fleet: Fleet, peek: Client, here: Client) -> None:
    address = fleet.asking.address + 64
    target = peek.target(fleet.asking.process.pid)
    before = target.read(address, 2)
    target.writev([(address, b"\xca\xfe")], expect=[before])
    assert here.target(fleet.asking.process.pid).read(address, 2) == b"\xca\xfe"


def test_the_file_behind_a_mapping_is_the_one_that_is_here(
    fleet: Fleet, peek: Client, here: Client
) -> None:
    pid = fleet.asking.process.pid
    there, same = peek.target(pid), here.target(pid)
    code = next(each.start for each in same.maps() if each.path and "x" in each.perms)
    assert there.file_info(code) == same.file_info(code)
    assert there.read_file(code, 0, 4096) == same.read_file(code, 0, 4096)


def test_a_dump_is_whole(peek: Client, sample: Sample, tmp_path: Path) -> None:
    target = peek.target(sample.pid)
    target.dump(tmp_path / "dump", [(sample.address, sample.address + SIZE)])
    assert (tmp_path / "dump").read_bytes() == sample.bytes(0, SIZE)


def test_streams_go_on(peek: Client, sample: Sample) -> None:
    target = peek.target(sample.pid)
    with peek.stream() as stream:
        reads = [stream.readv(target, [(sample.address, 8)]) for _ in range(150)]
        assert {each.result(20).data for each in reads} == {sample.bytes(0, 8)}
        subscription = stream.subscribe(target, [(sample.address, 8)], hz=50)
        ticks = iter(subscription)
        for _ in range(5):
            assert next(ticks).data == sample.bytes(0, 8)


def test_problems_are_the_same_exceptions(fleet: Fleet, peek: Client) -> None:
    with pytest.raises(NoSuchProcess):
        peek.target(comm="nobody-at-all")
    with pytest.raises(ValueError, match="give `node`"):
        Client(nats=fleet.broker.url("alice"))
    with pytest.raises(ValueError, match="leave `url`"):
        Client("unix:/nowhere", node="n1", nats="nats://127.0.0.1:1", client="alice")


def test_a_node_that_is_not_there_and_a_broker_that_is_not(fleet: Fleet) -> None:
    with (
        Client(nats=fleet.broker.url("alice"), node="n9", client="alice") as nobody,
        pytest.raises(Unreachable, match="n9"),
    ):
        nobody.info()
    with (
        Client(nats="nats://x:secret@127.0.0.1:1", node="n1", client="alice") as nowhere,
        pytest.raises(Unreachable) as error,
    ):
        nowhere.info()
    assert "secret" not in str(error.value)


def test_who_asks_as_another_is_told_at_once(fleet: Fleet) -> None:
    with (
        Client(nats=fleet.broker.url("alice"), node="n1", client="bob") as other,
        pytest.raises((Forbidden, Unreachable), match="does not let 'bob'"),
    ):
        other.info()


async def test_whoever_awaits_has_the_same(fleet: Fleet, sample: Sample) -> None:
    async with AsyncClient(nats=fleet.broker.url("alice"), node="n1", client="alice") as peek:
        target = await peek.target(sample.pid)
        assert await target.read(sample.address, 16) == sample.bytes(0, 16)
        async with peek.stream() as stream:
            read = await stream.readv(target, [(sample.address, 8)])
            assert read.data == sample.bytes(0, 8)


def test_a_connection_that_is_lost_is_made_again(fleet: Fleet, sample: Sample) -> None:
    with Client(nats=fleet.broker.url("alice"), node="n1", client="alice") as peek:
        target = peek.target(sample.pid)
        connected = fleet.agent.log.count("connected to")
        fleet.broker.end()
        with pytest.raises((Unreachable, Interrupted)):
            target.read(sample.address, 8)
        fleet.broker.start()
        until(lambda: fleet.agent.log.count("connected to") > connected, "the agent is back")
        assert target.read(sample.address, 8) == sample.bytes(0, 8)


def test_commands_take_a_node(fleet: Fleet, sample: Sample) -> None:
    words = ("read", str(sample.pid), hex(sample.address), "32")
    to_node = ("--node", "n1", "--nats", fleet.broker.url("alice"), "--client", "alice")
    token = fleet.folder / "token.alice"
    token.write_text(ALICE)
    token.chmod(0o600)
    by_broker = run(*words, *to_node)
    by_http = run(*words, "--url", f"unix:{fleet.service.path}", "--token-file", token)
    assert (by_broker.status, by_broker.output) == (0, by_http.output)
    told = run(*words, *to_node, "--curl")
    assert (told.status, "leave --curl out" in told.error) == (2, True)
