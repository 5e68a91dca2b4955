"""Clients of the stream: reads in flight, subscriptions, and standing matches."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from endurance.soak import judging
from endurance.soak.actors import RUBY, address_of
from endurance.soak.judging import Wrong
from endurance.soak.stage import OPERATOR
from endurance.soak.users import PATIENCE_S, User, columns, slug_of
from support.frames import take_apart
from support.websocket import BINARY, CLOSE, PING, PONG, WebSocket, frame, handshake

if TYPE_CHECKING:
    from collections.abc import Mapping

    from endurance.soak.actors import Actor
    from endurance.soak.judging import Regions
    from endurance.soak.stage import Stage


_REGIONS = [(address_of(20), 64), (address_of(2), 16)]
"""What is sampled of all targets of a match."""


class Closed(Exception):
    """The service has closed the stream, and says why."""


class Streamed:
    """An open stream of one client."""

    def __init__(self, stage: Stage, token: str = OPERATOR) -> None:
        sock = stage.service.connect()
        sock.settimeout(PATIENCE_S)
        try:
            self.socket = WebSocket(sock, handshake(Authorization=f"Bearer {token}"))
        except BaseException:
            sock.close()
            raise

    def close(self) -> None:
        self.socket.end()

    def next(self) -> tuple[Any, bytes]:
        """Return the next frame's object and bytes; answers pings meanwhile."""
        while True:
            opcode, payload = self.socket.receive()
            if opcode == BINARY:
                return take_apart(payload)
            if opcode == PING:
                self.socket.sock.sendall(frame(payload, PONG))
            elif opcode == CLOSE:
                raise Closed(f"{int.from_bytes(payload[:2], 'big')} {payload[2:].decode()}")


class StreamReader(User):
    """Keeps several reads in flight on one stream, of as many targets."""

    def act(self) -> None:
        with contextlib.closing(Streamed(self.stage)) as opened:
            for _ in range(20):
                if self.stage.over.is_set():
                    return
                self._ask_some(opened)

    def _ask_some(self, streamed: Streamed) -> None:
        asked: dict[int, tuple[Actor, Regions, str, int]] = {}
        for number in range(self.random.randrange(1, 16)):
            actor = self.choose()
            if actor is None:
                return
            regions, mode = self.regions(), self.random.choice(("wait", "nowait"))
            message = {"id": number, "target": actor.id, "mode": mode, **columns(regions)}
            asked[number] = (actor, regions, mode, time.monotonic_ns())
            streamed.socket.send({**message, **self.timeout(actor)})
            self.count("read on a stream")
        while asked:
            shown, data = streamed.next()
            until = time.monotonic_ns()
            actor, regions, mode, since = asked.pop(shown["id"])
            try:
                if "problem" in shown:
                    judging.excuse(slug_of(shown["problem"]), actor, since, until)
                else:
                    judging.judge_read(actor, regions, shown, data, mode, until)
            except Wrong as wrong:
                wrong.add_note(f"asked {actor.id} {regions} {mode}, got {shown} {data[:100]!r}")
                raise


@dataclass(slots=True)
class Sampled:
    """What one target's ticks have told so far."""

    actor: Actor
    last: int = 0
    has_left: bool = False


@dataclass(slots=True)
class Sampling:
    """A subscription, and what was asked for."""

    sampled: Sampled
    regions: Regions
    mode: str
    changed_only: bool


class Subscriber(User):
    """Samples targets for a while; takes nothing at times, or leaves without a word."""

    def act(self) -> None:
        with contextlib.closing(Streamed(self.stage)) as opened:
            since = time.monotonic_ns()
            running = self._subscribe(opened)
            end = time.monotonic() + self.random.uniform(0.2, 2)
            if self.random.random() < 0.2:
                self.fault("a client takes nothing")
                self.stage.over.wait(self.random.uniform(0.5, 2))
            while running and opened.socket.has_more(end - time.monotonic()):
                self._take(opened, running, since, is_leaving=False)
                if time.monotonic() > end:
                    break
            if self.random.random() < 0.3:
                self.fault("a stream is cut")
                return
            for number in running:
                opened.socket.send({"unsubscribe": number})
            while running:
                self._take(opened, running, since, is_leaving=True)

    def _subscribe(self, opened: Streamed) -> dict[int, Sampling]:
        running: dict[int, Sampling] = {}
        for number in range(self.random.randrange(1, 6)):
            actor = self.choose()
            if actor is None:
                break
            regions, mode = self.regions(), self.random.choice(("wait", "nowait"))
            changed_only = self.random.random() < 0.3
            wanted = {"target": actor.id, "mode": mode, "hz": self.random.choice((5, 20, 200))}
            wanted |= {**columns(regions), "changed_only": changed_only}
            opened.socket.send({"id": number, "subscribe": wanted})
            running[number] = Sampling(Sampled(actor), regions, mode, changed_only)
            self.count("subscription")
        return running

    def _take(
        self, opened: Streamed, running: dict[int, Sampling], since: int, *, is_leaving: bool
    ) -> None:
        shown, data = opened.next()
        until = time.monotonic_ns()
        if shown.get("of") == "unsubscribe":
            return  # of one that had ended meanwhile
        if shown["id"] not in running:
            raise Wrong(f"a frame of a subscription that has ended: {shown}")
        sampling = running[shown["id"]]
        try:
            if "problem" in shown or "ended" in shown:
                del running[shown["id"]]
                how = shown["ended"] if "ended" in shown else slug_of(shown["problem"])
                if how != "unsubscribed":
                    judging.excuse(how, sampling.sampled.actor, since, until)
                elif not is_leaving:
                    raise Wrong("it ends as if it had been asked to")
            elif "tick" in shown:
                self._judge_tick(sampling, shown, data, until)
        except Wrong as wrong:
            wrong.add_note(f"{sampling}, got {shown} {data[:100]!r}")
            raise

    def _judge_tick(
        self, sampling: Sampling, shown: Mapping[str, Any], data: bytes, until: int
    ) -> None:
        self.count("tick")
        self.lose("ticks dropped", shown["dropped"])
        if not sampling.changed_only:
            follow(sampling.sampled, shown)
        actor = sampling.sampled.actor
        judging.judge_read(actor, sampling.regions, shown, data, sampling.mode, until)


def follow(sampled: Sampled, shown: Mapping[str, Any]) -> None:
    """Hold a tick's number against those that were lost."""
    if shown["tick"] != sampled.last + 1 + shown["dropped"]:
        raise Wrong(f"tick {shown['tick']} behind {sampled.last}, {shown['dropped']} dropped")
    if sum(shown["dropped_by"].values()) != shown["dropped"]:
        raise Wrong(f"what was dropped was dropped by nobody: {shown}")
    sampled.last = shown["tick"]


class MatchSubscriber(User):
    """Samples all targets of a standing match, those that come and go as well."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        self._early: dict[str, int] = {}  # the last tick, by target

    def act(self) -> None:
        match = {"exe": str(self.stage.folder / RUBY)}  # nobody else's program
        heard = self.line.ask("POST", "/v1/matches", {"match": match})
        self.count("standing match")
        if heard.status != 201:
            raise Wrong(f"no standing match: {heard}")
        number = heard.json["id"]
        with contextlib.closing(Streamed(self.stage)) as opened:
            self._sample(opened, number)
        heard = self.line.ask("DELETE", f"/v1/matches/{number}")
        if heard.status != 204:
            raise Wrong(f"the match is not ended: {heard}")

    def _sample(self, streamed: Streamed, match: str) -> None:
        self._early.clear()
        wanted = {"match": match, "mode": "nowait", "hz": 20, **columns(_REGIONS)}
        streamed.socket.send({"id": 1, "subscribe": wanted})
        since = time.monotonic_ns()
        seen: dict[str, Sampled] = {}
        end = time.monotonic() + self.random.uniform(1, 5)
        while time.monotonic() < end and streamed.socket.has_more(end - time.monotonic()):
            if self._take_one(streamed, seen, since):
                raise Wrong("the sampling of a match ends by itself")
        streamed.socket.send({"unsubscribe": 1})
        while not self._take_one(streamed, seen, since):
            pass

    def _take_one(self, streamed: Streamed, seen: dict[str, Sampled], since: int) -> bool:
        """Take a frame; whether the sampling has ended as it should."""
        shown, data = streamed.next()
        if shown.get("ended", "unsubscribed") != "unsubscribed" or "problem" in shown:
            raise Wrong(f"the sampling of a match ends: {shown}")
        if "target" in shown:
            self._take(shown, data, seen, since, time.monotonic_ns())
        return "ended" in shown

    def _take(
        self,
        shown: Mapping[str, Any],
        data: bytes,
        seen: dict[str, Sampled],
        since: int,
        until: int,
    ) -> None:
        actor = self.stage.cast.by_id.get(shown["target"])
        if actor is None:  # it is found before it is written down who it is
            self._early[shown["target"]] = shown.get("tick", 0)
            return
        sampled = seen.setdefault(actor.id, Sampled(actor, self._early.pop(actor.id, 0)))
        try:
            if "left" in shown:
                if sampled.has_left:
                    raise Wrong("it leaves twice")
                judging.excuse(shown["left"], actor, since, until)
                seen.pop(actor.id)
                return
            self.count("tick of a match")
            self.lose("ticks dropped", shown["dropped"])
            follow(sampled, shown)
            judging.judge_read(actor, _REGIONS, shown, data, "nowait", until)
        except Wrong as wrong:
            wrong.add_note(f"{sampled}, got {shown} {data[:100]!r}")
            raise
