"""Clients that follow events, and one that lists."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from endurance.soak.actors import RUBY, VAULT
from endurance.soak.judging import STALE_NS, Wrong
from endurance.soak.stage import NARROW
from endurance.soak.users import User, noted
from support.serving import UnixConnection

if TYPE_CHECKING:
    from collections.abc import Iterator

    from endurance.soak.stage import Stage

_SILENCE_S = 40.0


class Listener(User):
    """Follows all events; leaves now and then, and goes on where it was."""

    def __init__(self, stage: Stage, number: int = 1) -> None:
        super().__init__(stage, number)
        self.last = 0
        self.lost = 0
        self.told: dict[str, Counter[str]] = {}
        self._sock: socket.socket | None = None

    def run(self) -> None:
        while not self.stage.curtain.is_set():
            try:
                self.act()
            except Wrong as wrong:
                self.stage.fail(self.name, f"{wrong}\n    {getattr(wrong, '__notes__', '')}")
            except (OSError, http.client.HTTPException) as error:
                if not self.stage.curtain.is_set():
                    self.stage.fail(self.name, f"the events end: {error!r}")

    def stop(self) -> None:
        """Let the thread come to its end."""
        if self._sock is not None:
            with contextlib.suppress(OSError):  # it has ended by itself
                self._sock.shutdown(socket.SHUT_RDWR)

    def act(self) -> None:
        connection = UnixConnection(self.stage.service.path, _SILENCE_S)
        headers = {"Authorization": f"Bearer {self.token}"}
        if self.last:
            headers["Last-Event-ID"] = str(self.last)
        since = time.monotonic_ns()
        connection.request("GET", "/v1/events", headers=headers)
        self._sock = connection.sock  # which is the answer's alone from then on
        with contextlib.closing(connection), connection.getresponse() as response:
            if response.status == 200:
                self._follow(response, since)
            else:
                self.refused(response.status, since)
                self.stage.over.wait(0.2)

    def _follow(self, response: http.client.HTTPResponse, since: int) -> None:
        leaves_at = time.monotonic() + self.random.uniform(2, 20)
        for number, kind, data in self._events(response):
            self.count("event")
            if number <= self.last:
                raise Wrong(f"event {number} comes behind {self.last}")
            self.last = number
            self.take(kind, data)
            if time.monotonic() > leaves_at and not self.stage.over.is_set():
                self.fault("a listener leaves and comes back")
                return
        self.ended(since)

    def refused(self, status: int, _since: int) -> None:
        raise Wrong(f"the events are refused: {status}")

    def ended(self, _since: int) -> None:
        if not self.stage.curtain.is_set():
            raise Wrong("the events end")

    def _events(self, response: http.client.HTTPResponse) -> Iterator[tuple[int, str, bytes]]:
        block: dict[str, bytes] = {}
        while line := response.readline():
            if line == b"\n":
                if "data" in block:
                    yield int(block["id"]), block["event"].decode(), block["data"]
                block = {}
            elif not line.startswith(b":"):
                name, _, value = line.rstrip(b"\n").partition(b": ")
                block[name.decode()] = value

    def take(self, kind: str, data: bytes) -> None:
        """Hold an event against what was done."""
        if kind == "lost":
            self.lost += 1
            self.lose("times that events were lost")
            return
        target = json.loads(data)["target"]
        told = self.told.setdefault(target["id"], Counter())
        told[kind] += 1
        actor = self.stage.cast.by_id.get(target["id"])
        if actor is None:  # it is told before it is written down who it is
            return
        if kind in ("exited", "reaped") and (actor.is_alive or told[kind] > 1):
            raise Wrong(f"{kind} is told of {target['id']}, for the {told[kind]}. time")
        if kind == "exec" and told[kind] > actor.execs:
            raise Wrong(f"{told[kind]} programs are told of, and {actor.execs} were executed")

    def missing(self) -> list[str]:
        """Return the targets whose exit was to be told, and was not."""
        return [
            each.id
            for each in self.stage.cast.by_id.values()
            if not each.is_alive and self.told.get(each.id, {}).get("exited") != 1
        ]


class NarrowListener(Listener):
    """Follows the events of what it may see."""

    token = NARROW

    def _is_excused(self, since: int) -> bool:
        rules = self.stage.rules.during(since - STALE_NS, time.monotonic_ns())
        return any(not each.knows_it for each in rules)

    def refused(self, status: int, since: int) -> None:
        if status != 401 or not self._is_excused(since):
            raise Wrong(f"the events are refused: {status}")

    def ended(self, since: int) -> None:
        if not self._is_excused(since):
            super().ended(since)

    def take(self, kind: str, data: bytes) -> None:
        if VAULT.encode() in data:
            raise Wrong(f"it is told of a program that it may not see: {kind} {data!r}")
        if kind == "lost":
            return
        identity = json.loads(data)["target"]["id"]
        actor = self.stage.cast.by_id.get(identity)
        if actor is None:
            return
        states = actor.history.during(time.monotonic_ns() - 10 * STALE_NS, time.monotonic_ns())
        if not any(state.name == RUBY for state in states):
            raise Wrong(f"it is told of a target that it could not see: {kind} {data!r}")


class Lister(User):
    """Lists what there is, and looks at one of it."""

    def act(self) -> None:
        heard = self.line.ask("GET", "/v1/targets?state=running")
        self.count("list")
        with noted(heard, "running targets"):
            if heard.status != 200:
                raise Wrong("a list is refused")
            listed: dict[str, Any] = {each["id"]: each for each in heard.json["targets"]}
            for actor in [*self.stage.cast.by_id.values()]:
                states = actor.history.during(heard.since, heard.until)
                if actor.id in listed:
                    if not any(state.is_alive for state in states):
                        raise Wrong(f"{actor.id} is listed as running")
                elif all(state.is_alive for state in states) and actor.was_known_by(heard.since):
                    raise Wrong(f"{actor.id} runs, and is not listed")
        self._look()
        self.stage.over.wait(0.02)

    def _look(self) -> None:
        actor = self.choose()
        if actor is None:
            return
        what = self.random.choice(("", "/maps?residency=true", "/auxv"))
        heard = self.line.ask("GET", f"/v1/targets/{actor.id}{what}")
        self.count("target, maps, auxv")
        with noted(heard, (actor.id, what)):
            states = actor.history.during(heard.since, heard.until)
            is_gone = any(not state.is_alive for state in states)
            if heard.status == 200:
                if not what and heard.json["state"] == "running" and is_gone and len(states) == 1:
                    raise Wrong("it runs, and does not")
            elif not (is_gone and heard.status in (404, 410)) and not any(
                state.hangs or state.is_loading
                for state in actor.history.during(heard.since - STALE_NS, heard.until)
            ):
                raise Wrong("it cannot be looked at")
