"""What a broker with JetStream keeps of a fleet: its streams, and making them.

Without JetStream all else works: what nodes say of themselves is heard by nobody then.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

import nats.errors
from nats.js import errors as js
from nats.js.api import DiscardPolicy, RePublish, StorageType, StreamConfig
from nats.js.manager import JetStreamManager

from farpeek_api.bus import subjects
from farpeek_api.bus.cancelling import heeded

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from nats.aio.client import Client
    from nats.aio.msg import Msg

NODES: Final = "FARPEEK_NODES"
EVENTS: Final = "FARPEEK_EVENTS"
BUCKET: Final = "farpeek_samplers"
SAMPLERS: Final = f"KV_{BUCKET}"
"""How JetStream's key-value buckets call their streams (NATS ADR-8)."""

HEARTBEAT: Final = "heartbeat"
EVENT: Final = "event"
HINT: Final = "samplers"

_DAY_S: Final = 24 * 3600.0
_LARGEST: Final = 16 << 10
MOST_SAMPLERS: Final = 10_000
_BATCH: Final = 256
_PATIENCE_S: Final = 5.0
NOBODY: Final = "the broker does not keep that: `farpeek fleet setup` has it do so"

KEYS: Final = f"$KV.{BUCKET}.>"
HINTS: Final = subjects.request(subjects.UP, subjects.EVERYBODY, HINT, ">")
"""Where nodes hear that a sampler has changed. Nobody may publish there but the stream itself."""


def streams(replicas: int = 1) -> list[StreamConfig]:
    """Say what a fleet has kept."""
    return [
        StreamConfig(
            name=NODES,
            description="farpeek: the last heartbeat of each node",
            subjects=[subjects.request(subjects.UP, "*", HEARTBEAT)],
            max_msgs_per_subject=1,
            max_age=7 * _DAY_S,
            max_bytes=256 << 20,
            max_msg_size=_LARGEST,
            storage=StorageType.FILE,
            num_replicas=replicas,
            allow_direct=True,
        ),
        StreamConfig(
            name=EVENTS,
            description="farpeek: what happened to targets of all nodes",
            subjects=[subjects.request(subjects.UP, "*", EVENT)],
            max_msgs_per_subject=100_000,  # one node does not drive out the others
            max_age=7 * _DAY_S,
            max_bytes=1 << 30,
            max_msg_size=64 << 10,
            storage=StorageType.FILE,
            num_replicas=replicas,
            duplicate_window=600.0,
            allow_direct=True,
        ),
        StreamConfig(
            name=SAMPLERS,
            description="farpeek: samplers, by CLIENT.NAME",
            subjects=[KEYS],
            max_msgs_per_subject=1,
            max_msgs=MOST_SAMPLERS,
            max_bytes=64 << 20,
            max_msg_size=_LARGEST,
            discard=DiscardPolicy.NEW,  # none is driven out by another
            storage=StorageType.FILE,
            num_replicas=replicas,
            deny_delete=True,
            allow_direct=True,
            # With rollups, one client could take away the samplers of all others.
            allow_rollup_hdrs=False,
            allow_msg_ttl=True,  # what says that one was taken away is not kept for ever
            # A subscription costs the broker less than a consumer for each node. It says no more
            # than that something has changed: the stream itself says what.
            republish=RePublish(src=KEYS, dest=HINTS, headers_only=True),
        ),
    ]


class NotKept(Exception):
    """The broker has no JetStream, or not that stream."""


@dataclass(frozen=True, slots=True)
class Found:
    """What has become of a stream."""

    name: str
    is_new: bool
    differences: tuple[str, ...] = ()
    """Of one that was there: what is not as it would be made."""


async def forget_samplers(client: Client, whose: str) -> None:
    """Take away all that a client keeps. Raises nats.errors.Error."""
    manager = JetStreamManager(client)
    await manager.purge_stream(SAMPLERS, subject=f"$KV.{BUCKET}.{whose}.>")


async def set_up(client: Client, replicas: int = 1) -> AsyncIterator[Found]:
    """Make the streams that are not there; those that are there stay as they are.

    Raises nats.errors.Error: ServiceUnavailableError where there is no JetStream.
    """
    manager = JetStreamManager(client)
    for wanted in streams(replicas):
        name = str(wanted.name)
        try:
            there = (await manager.stream_info(name)).config
        except js.NotFoundError:
            await manager.add_stream(wanted)  # pyright: ignore[reportUnknownMemberType] - nats-py leaves its parameters open
            yield Found(name, is_new=True)
        else:
            yield Found(name, is_new=False, differences=tuple(_differences(wanted, there)))


class Message(NamedTuple):
    """One message that is kept."""

    subject: str
    sequence: int
    headers: Mapping[str, str]
    payload: bytes


async def messages(client: Client, stream: str, subject: str) -> AsyncIterator[Message]:
    """Give all that is kept of a subject, which may have wildcards, the oldest first.

    Raises NotKept where nobody keeps it, nats.errors.TimeoutError.
    """
    came: asyncio.Queue[Msg] = asyncio.Queue()
    inbox = client.new_inbox()
    subscription = await client.subscribe(inbox, cb=came.put)  # pyright: ignore[reportUnknownMemberType] - nats-py leaves a future's type open
    try:
        first = 1
        while True:
            asked = {"seq": first, "next_by_subj": subject, "batch": _BATCH}
            await client.publish(f"$JS.API.DIRECT.GET.{stream}", json.dumps(asked).encode(), inbox)
            found = await _batch(came)
            for each in found:
                yield each
            if not found:
                return
            first = found[-1].sequence + 1
    finally:
        with suppress(nats.errors.ConnectionClosedError):
            await subscription.unsubscribe()


async def message(client: Client, stream: str, subject: str) -> Message | None:
    """Give the last of a subject; None if there is none. Raises as `messages`."""
    try:
        answer = await heeded(
            client.request(f"$JS.API.DIRECT.GET.{stream}.{subject}", timeout=_PATIENCE_S)
        )
    except nats.errors.NoRespondersError:
        raise NotKept(NOBODY) from None
    return _taken(answer)


async def heartbeats(client: Client) -> dict[str, Mapping[str, Any]]:
    """Give the last heartbeat of each node that is known, by its name. Raises as `messages`."""
    found: dict[str, Mapping[str, Any]] = {}
    everybody = subjects.request(subjects.UP, "*", HEARTBEAT)
    async for each in messages(client, NODES, everybody):
        asked = subjects.parse(each.subject)
        try:
            said = cast("Mapping[str, Any]", json.loads(each.payload))
            node = said["node"]
        except (ValueError, KeyError, TypeError):
            continue
        # A client can have the broker's answers sent to any subject: these are no node's words.
        if asked is not None and node == asked.node:
            found[asked.node] = said
    return found


async def _batch(came: asyncio.Queue[Msg]) -> list[Message]:
    """Take the answers to one request; nothing where there is no more."""
    found: list[Message] = []
    while True:
        try:
            async with asyncio.timeout(_PATIENCE_S):
                answer = await came.get()
        except TimeoutError:
            raise nats.errors.TimeoutError from None
        taken = _taken(answer)
        if taken is None:
            return found
        found.append(taken)
        # Brokers before 2.11 know of no batches, and do not say how many follow.
        if "Nats-Num-Pending" not in taken.headers:
            return found


def _taken(answer: Msg) -> Message | None:
    headers = answer.headers or {}
    status = headers.get("Status")
    if status == "503":
        raise NotKept(NOBODY)
    subject, sequence = headers.get("Nats-Subject"), headers.get("Nats-Sequence", "")
    if status is not None or subject is None or not sequence.isdecimal():
        return None  # the end of a batch, or there is none
    return Message(subject, int(sequence), headers, answer.data)


def _differences(wanted: StreamConfig, there: StreamConfig) -> list[str]:
    ours, theirs = wanted.as_dict(), there.as_dict()
    return [
        f"{name} is {theirs.get(name)}, and would be {value}"
        for name, value in ours.items()
        if name != "description" and value and theirs.get(name) != value
    ]
