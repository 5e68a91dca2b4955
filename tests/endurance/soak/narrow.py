"""A client that may read ruby alone, by nowait alone, and knows of nothing else."""

from __future__ import annotations

import base64
import contextlib
import time
from typing import TYPE_CHECKING, Any

from endurance.soak import judging
from endurance.soak.actors import RUBY, VAULT
from endurance.soak.history import told
from endurance.soak.judging import STALE_NS, Wrong
from endurance.soak.stage import BLIND, NARROW
from endurance.soak.streams import Closed, Streamed
from endurance.soak.tools import core_parts, planned_parts, words_plan
from endurance.soak.users import HANGING_S, User, columns, noted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from endurance.soak.actors import Actor
    from endurance.soak.history import Memory
    from endurance.soak.judging import Part, Regions
    from endurance.soak.users import Heard

_FORBIDDEN_NAME = VAULT.encode()
ENDS = frozenset({"forbidden", "no-such-target", "unauthenticated", "target-exited", "deadline"})
"""How the sampling of what became forbidden may end; `deadline` of one that is about to exit."""


def rubies(states: list[Memory]) -> list[Memory]:
    """Return the states in which it may be read."""
    return [state for state in states if state.is_alive and state.name == RUBY]


def _check_names(body: bytes) -> None:
    at = body.find(_FORBIDDEN_NAME)
    if at >= 0:
        around = body[max(0, at - 600) : at + 600]
        raise Wrong(f"it is told the name of a program that it may not see: {around!r}")


class Narrow(User):
    """Asks for everything, and gets ruby."""

    token = NARROW

    def act(self) -> None:
        actor = self.choose()
        if actor is not None:
            ways = (self._read, self._read, self._range, self._plan, self._core)
            self.random.choice((*ways, self._look, self._list))(actor)

    def _heard(self, heard: Heard, actor: Actor, mode: str = "nowait") -> bool:
        """Judge all but the bytes; whether there are any."""
        self.count("of the narrow client")
        _check_names(heard.body)
        rules = self.stage.rules.during(heard.since, heard.until)
        states = actor.history.during(heard.since, heard.until)
        lately = actor.history.during(heard.since - STALE_NS, heard.until)
        allowed: set[int] = set()
        if any(not each.knows_it for each in rules):
            allowed |= {401, 403, 404}  # if it is known when it comes, and not when it is judged
        if any(each.knows_it for each in rules):
            if rubies(states):
                allowed.add(200)
            # Refused whatever the target is, also where there is none.
            if mode == "wait" or any(not each.may_read for each in rules):
                allowed.add(403)
            if any(state.name == VAULT for state in lately):
                allowed.add(404)
            if any(not state.is_alive for state in states):
                allowed |= {200, 404, 410}
            if any(state.is_loading or not state.is_alive for state in lately):
                allowed |= {429, 504}
        if heard.status != 206 and heard.status not in allowed:
            raise Wrong(f"{heard.status} is none of {sorted(allowed)}")
        return heard.status in (200, 206)

    def _judge(self, actor: Actor, shown: Mapping[str, Any], data: bytes, regions: Regions) -> None:
        """Look at bytes: they are to be ruby's."""
        self._judge_parts(
            actor, shown["began_ns"], list(judging.parts(regions, shown["gaps"], data))
        )

    def _judge_parts(self, actor: Actor, since: int, found: list[Part]) -> None:
        states = rubies(actor.history.during(since, time.monotonic_ns()))
        judging.judge_parts(actor, found, states, "nowait")

    def _read(self, actor: Actor) -> None:
        regions = self.regions()
        mode = self.random.choice(("nowait", "nowait", "nowait", "wait"))
        body = {"mode": mode, **columns(regions)}
        heard = self.line.ask("POST", f"/v1/targets/{actor.id}/readv", body)
        with noted(heard, (actor.id, body)):
            if self._heard(heard, actor, mode):
                if mode == "wait":
                    raise Wrong("it reads in a mode that it may not use")
                shown = heard.json
                self._judge(actor, shown, base64.b64decode(shown["data"]), regions)

    def _range(self, actor: Actor) -> None:
        first, length = self.regions()[0]
        heard = self.line.ask(
            "GET",
            f"/v1/targets/{actor.id}/memory?mode=nowait",
            headers={"Range": f"bytes={first}-{first + length - 1}"},
        )
        with noted(heard, (actor.id, hex(first), length)):
            if heard.status == 416:
                return
            if self._heard(heard, actor):
                shown = {"began_ns": heard.since, "gaps": ()}
                self._judge(actor, shown, heard.body, [(first, len(heard.body))])

    def _plan(self, actor: Actor) -> None:
        plan = words_plan(self.random, "nowait", HANGING_S)
        heard = self.line.ask("POST", f"/v1/targets/{actor.id}/plan", plan)
        with noted(heard, (actor.id, plan)):
            if self._heard(heard, actor):
                self._judge_parts(actor, heard.json["began_ns"], planned_parts(heard.json))

    def _core(self, actor: Actor) -> None:
        plain = {"Accept-Encoding": "identity"}
        heard = self.line.ask("GET", f"/v1/targets/{actor.id}/core?mode=nowait", headers=plain)
        with noted(heard, (actor.id, "core")):
            if self._heard(heard, actor):
                found = [each for each in core_parts(heard.body) if each.data]
                if found:
                    self._judge_parts(actor, heard.since, found)

    def _look(self, actor: Actor) -> None:
        what = self.random.choice(("", "/maps", "/auxv"))
        heard = self.line.ask("GET", f"/v1/targets/{actor.id}{what}")
        with noted(heard, (actor.id, what)):
            self._heard(heard, actor)

    def _list(self, _actor: Actor) -> None:
        what = self.random.choice(("targets", "processes"))
        heard = self.line.ask("GET", f"/v1/{what}")
        self.count("lists of the narrow client")
        with noted(heard, what):
            _check_names(heard.body)
            rules = self.stage.rules.during(heard.since, heard.until)
            if any(not each.knows_it for each in rules):
                return
            if heard.status != 200:
                raise Wrong("a list is refused")
            if what == "targets":
                self._compare({each["id"] for each in heard.json["targets"]}, heard)

    def _compare(self, listed: set[str], heard: Heard) -> None:
        for actor in [*self.stage.cast.by_id.values()]:
            states = actor.history.during(heard.since - STALE_NS, heard.until)
            past = told(actor.history, heard.until)
            if actor.id in listed:
                # What it executed just before its end the service need not have seen.
                last = actor.history.before(lambda state: not state.is_alive, STALE_NS)
                if not any(state.name == RUBY for state in (*states, *last)):
                    raise Wrong(f"{actor.id} is listed, and may not be seen: {past}")
            elif len(states) == len(rubies(states)) and actor.was_known_by(heard.since):
                raise Wrong(f"{actor.id} is not listed, and may be seen: {past}")


class NarrowSubscriber(Narrow):
    """Samples what it may see, until it may not any more."""

    def act(self) -> None:
        actor = self.choose()
        if actor is None:
            return
        since = time.monotonic_ns()
        try:
            opened = Streamed(self.stage, NARROW)
        except AssertionError:  # 401, and no stream
            self._excuse_the_end(since)
            return
        with contextlib.closing(opened):
            try:
                self._sample(opened, actor)
            except (Closed, EOFError):
                self._excuse_the_end(since)

    def _excuse_the_end(self, since: int) -> None:
        rules = self.stage.rules.during(since - STALE_NS, time.monotonic_ns())
        if all(each.knows_it for each in rules):
            raise Wrong("the stream is closed to a client of the policy")

    def _sample(self, opened: Streamed, actor: Actor) -> None:
        regions = self.regions()
        wanted = {"target": actor.id, "mode": "nowait", "hz": 50, **columns(regions)}
        opened.socket.send({"id": 1, "subscribe": wanted})
        self.count("subscription of the narrow client")
        end = time.monotonic() + 1
        while time.monotonic() < end:
            shown, data = opened.next()
            if "ended" in shown or "problem" in shown:
                if "ended" in shown and shown["ended"] not in ENDS:
                    raise Wrong(f"the sampling ends: {shown}")
                return
            if "tick" in shown:
                try:
                    self._judge(actor, shown, data, regions)
                except Wrong as wrong:
                    wrong.add_note(f"{actor.id} {regions}, got {shown} {data[:100]!r}")
                    raise
                self.count("tick of the narrow client")


class Blind(User):
    """May see no process at all, and finds none."""

    token = BLIND

    def act(self) -> None:
        actor = self.choose()
        if actor is None:
            return
        heard = [
            self.line.ask("GET", "/v1/targets"),
            self.line.ask("GET", "/v1/processes"),
            self.line.ask("GET", f"/v1/targets/{actor.id}"),
            self.line.ask("POST", "/v1/targets", {"pid": actor.pid}),
            self.line.ask("POST", f"/v1/targets/{actor.id}/readv", columns([(0, 8)])),
            self.line.ask("GET", "/v1/info"),
        ]
        self.count("of the blind client", len(heard))
        with noted(heard[-1], [each.status for each in heard]):
            late = heard[1].status == 504  # all of /proc, on a busy machine
            if [each.status for each in heard] != [200, 504 if late else 200, 404, 404, 404, 200]:
                raise Wrong("a client that may see nothing is told of something")
            if heard[0].json["targets"] or (not late and heard[1].json["processes"]):
                raise Wrong("a client that may see nothing sees something")
            if any(heard[-1].json["targets"].values()):
                raise Wrong("a client that may see nothing is told how many there are")
        self.stage.over.wait(0.05)
