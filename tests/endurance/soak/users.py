"""Clients that read over HTTP, and hold each answer against what was true."""

from __future__ import annotations

import base64
import http.client
import json
import threading
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from endurance.soak import judging
from endurance.soak.actors import address_of
from endurance.soak.history import BLOCK_PAGES, MISSING_PAGES
from endurance.soak.judging import Wrong
from endurance.soak.stage import OPERATOR
from support import frames, pieces
from support.pid_reuse import MARKER, PAGE
from support.serving import UnixConnection

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from endurance.soak.actors import Actor
    from endurance.soak.judging import Regions
    from endurance.soak.stage import Stage

PATIENCE_S = 60.0
_WATCHING = 0.3
"""How many of all questions are about the target to which something happens."""
HANGING_S = 0.3
"""How long a read of a target that hangs may take."""


@dataclass(frozen=True, slots=True)
class Heard:
    """An answer, and when it was asked for and had."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    since: int
    until: int
    is_cut: bool

    @property
    def json(self) -> Any:  # noqa: ANN401 - whatever the service says
        return json.loads(self.body)

    @property
    def slug(self) -> str:
        return slug_of(self.json)


def slug_of(problem: Mapping[str, Any]) -> str:
    """Return the name of a problem."""
    return str(problem["type"]).removeprefix("urn:farpeek:problem:")


class Line:
    """A connection that is kept, of one client."""

    def __init__(self, stage: Stage, token: str) -> None:
        self._stage = stage
        self._connection = UnixConnection(stage.service.path, PATIENCE_S)
        self._headers = {"Authorization": f"Bearer {token}"}

    def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> Heard:
        """Put a request; what is no bytes goes as JSON."""
        sent = {**self._headers, **(headers or {})}
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
            sent["Content-Type"] = "application/json"
        since = time.monotonic_ns()
        response = self._send(method, path, body, sent)
        is_cut = False
        try:
            content = response.read()
        except http.client.IncompleteRead as cut:
            content, is_cut = cut.partial, True
            self._connection.close()
        found = {name.lower(): value for name, value in response.getheaders()}
        return Heard(response.status, found, content, since, time.monotonic_ns(), is_cut)

    def _send(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
    ) -> http.client.HTTPResponse:
        """Send it; again, if the kept connection was just about to be closed (RFC 9112, 9.3.1)."""
        is_kept = self._connection.sock is not None
        try:
            self._connection.request(method, path, body, headers)
            return self._connection.getresponse()
        except (ConnectionResetError, BrokenPipeError):
            self._connection.close()
            if not is_kept or method != "GET":
                raise
        with self._stage.counting:
            self._stage.losses["kept connections that were closed"] += 1
        self._connection.request(method, path, body, headers)
        return self._connection.getresponse()

    def close(self) -> None:
        self._connection.close()


class User(threading.Thread, ABC):
    """Does one thing again and again, in a thread of its own."""

    token = OPERATOR

    def __init__(self, stage: Stage, number: int = 1) -> None:
        super().__init__(name=f"{type(self).__name__} {number}", daemon=True)
        self.stage = stage
        self.random = stage.random(self.name)
        self.line = Line(stage, self.token)

    def run(self) -> None:
        try:
            while not self.stage.over.is_set():
                try:
                    self.act()
                except Wrong as wrong:
                    self.stage.fail(self.name, f"{wrong}\n    {getattr(wrong, '__notes__', '')}")
        except BaseException as error:  # the run fails by it
            self.stage.fail(self.name, f"{type(error).__name__}: {error}")
            raise
        finally:
            self.line.close()

    @abstractmethod
    def act(self) -> None:
        """Do it once. Raises Wrong."""

    def choose(self) -> Actor | None:
        """Choose a target; None while there is none."""
        known = [actor for actor in [*self.stage.cast.by_id.values()] if actor.id]
        if not known:
            self.stage.over.wait(0.01)
            return None
        watched = self.stage.cast.spotlight
        if watched is not None and self.random.random() < _WATCHING:
            return watched
        return self.random.choice(known)

    def count(self, kind: str, number: int = 1) -> None:
        with self.stage.counting:
            self.stage.requests[kind] += number

    def fault(self, kind: str) -> None:
        with self.stage.counting:
            self.stage.faults[kind] += 1

    def lose(self, kind: str, number: int = 1) -> None:
        if number:
            with self.stage.counting:
                self.stage.losses[kind] += number

    def regions(self) -> Regions:
        """Make up what to read: a few places, mostly where there is something."""
        found: Regions = []
        for _ in range(self.random.choice((1, 1, 2, 3, 16))):
            pages = BLOCK_PAGES + (10 if self.random.random() < 0.2 else 0)
            page = self.random.randrange(pages)
            if self.random.random() < 0.3:  # those that come and go
                page = self.random.randrange(8)
            if page in MISSING_PAGES and self.random.random() < 0.5:
                page = 0
            length = self.random.choice((1, 8, 64, 4096, 4 * PAGE))
            found.append((address_of(page) + self.random.randrange(PAGE), length))
        return found

    def timeout(self, actor: Actor) -> dict[str, float]:
        """Return how long a read of it may take, as a member of the request."""
        return {"timeout_s": HANGING_S} if actor.history.now.hangs else {}


def noting(heard: Heard, asked: object) -> str:
    """Describe question and answer."""
    took = (heard.until - heard.since) / 1e6
    return f"asked {asked}, got {heard.status} after {took:.1f} ms: {heard.body[:600]!r}"


class Reader(User):
    """Reads regions of one target, in every form that there is."""

    def act(self) -> None:
        actor = self.choose()
        if actor is None:
            return
        regions, mode = self.regions(), self.random.choice(("wait", "nowait"))
        form = self.random.choice(("base64", "hex", "frame", "iov"))
        wanted: dict[str, Any] = {"mode": mode, **self.timeout(actor)}
        headers = {"Accept": frames.FRAME} if form in ("frame", "iov") else {}
        path = f"/v1/targets/{actor.id}/readv"
        body: object
        if form == "iov":
            headers["Content-Type"] = frames.IOV
            path += "?" + "&".join(f"{name}={value}" for name, value in wanted.items())
            body = frames.iov(regions)
        else:
            if form == "hex":
                wanted["encoding"] = form
            body = {**wanted, **columns(regions)}
        heard = self.line.ask("POST", path, body, headers)
        self.count(f"readv ({form})")
        with noted(heard, (actor.id, regions, mode)):
            self._judge(heard, actor, regions, mode, form)

    def _judge(self, heard: Heard, actor: Actor, regions: Regions, mode: str, form: str) -> None:
        if heard.status != 200:
            judging.excuse(heard.slug, actor, heard.since, heard.until)
        elif form in ("frame", "iov"):
            shown, data = frames.take_apart(heard.body)
            judging.judge_read(actor, regions, shown, data, mode, heard.until)
        else:
            shown = heard.json
            data = judging.data_of(shown, form)
            judging.judge_read(actor, regions, shown, data, mode, heard.until)


class noted:  # noqa: N801 - a context manager
    """Adds question and answer to what was wrong about them."""

    def __init__(self, heard: Heard, asked: object) -> None:
        self._heard, self._asked = heard, asked

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        if error is not None:
            error.add_note(noting(self._heard, self._asked))


def columns(regions: Regions) -> dict[str, Sequence[object]]:
    """Return regions as members of a request."""
    return {
        "addresses": [hex(address) for address, _ in regions],
        "lengths": [length for _, length in regions],
    }


class ManyReader(User):
    """Reads of many targets by one request."""

    def act(self) -> None:
        mode = self.random.choice(("wait", "nowait"))
        actors = [actor for actor in (self.choose() for _ in range(8)) if actor is not None]
        wanted = [(actor, self.regions()) for actor in actors]
        if not wanted:
            return
        reads = [{"target": actor.id, **columns(regions)} for actor, regions in wanted]
        body = {"reads": reads, "mode": mode, "timeout_s": 1.0}
        heard = self.line.ask("POST", "/v1/readv", body)
        self.count("readv of many targets")
        with noted(heard, (mode, reads)):
            if heard.status != 200:
                raise Wrong("many reads are refused as a whole")
            results = heard.json["results"]
            if len(results) != len(wanted):
                raise Wrong("there are not as many results as reads")
            for (actor, regions), shown in zip(wanted, results, strict=True):
                if "problem" in shown:
                    slug = slug_of(shown["problem"])
                    judging.excuse(slug, actor, heard.since, heard.until)
                else:
                    data = base64.b64decode(shown["data"])
                    judging.judge_read(actor, regions, shown, data, mode, heard.until)


class BulkReader(User):
    """Takes long ranges as plain bytes, slowly at times, and leaves in the middle at others."""

    def act(self) -> None:
        actor = self.choose()
        if actor is None:
            return
        first = address_of(self.random.randrange(BLOCK_PAGES)) + self.random.randrange(PAGE)
        last = first + self.random.randrange(1, BLOCK_PAGES * PAGE)
        mode = self.random.choice(("wait", "nowait"))
        path = f"/v1/targets/{actor.id}/memory?mode={mode}"
        heard = self.line.ask("GET", path, headers={"Range": f"bytes={first}-{last}"})
        self.count("bulk")
        with noted(heard, (actor.id, hex(first), hex(last), mode)):
            self._judge(heard, actor, first, mode)

    def _judge(self, heard: Heard, actor: Actor, first: int, mode: str) -> None:
        if heard.status == 416:
            page = (first - MARKER) // PAGE
            states = actor.history.during(heard.since, heard.until)
            if not any(state.page(page) != "data" or state.is_loading for state in states):
                raise Wrong("the first byte can be read")
            return
        if heard.status != 206:
            judging.excuse(heard.slug, actor, heard.since, heard.until)
            return
        got = len(heard.body)
        states = actor.history.during(heard.since, heard.until)
        found = list(judging.parts([(first, got)], (), heard.body))
        judging.judge_parts(actor, found, states, mode)
        planned = heard.headers["content-range"].partition("-")[2].partition("/")[0]
        planned_bytes = int(planned) - first + 1
        if heard.is_cut is not (got < planned_bytes):
            raise Wrong(f"{got} bytes of {planned_bytes} came, cut: {heard.is_cut}")
        end = (first + got - MARKER) // PAGE
        if got < planned_bytes and len(states) == 1 and states[0].page(end) == "data":
            raise Wrong(f"it ended within what can be read, at page {end}")


class PieceReader(User):
    """Takes long ranges in pieces."""

    def act(self) -> None:
        actor = self.choose()
        if actor is None:
            return
        page = self.random.randrange(BLOCK_PAGES)
        pages = self.random.randrange(1, BLOCK_PAGES + 4 - page)
        start, end = address_of(page), address_of(page + pages)
        mode = self.random.choice(("wait", "nowait"))
        encoding = {"Accept-Encoding": "identity"}
        body = {"ranges": [[hex(start), hex(end)]], "mode": mode}
        heard = self.line.ask("POST", f"/v1/targets/{actor.id}/memory", body, encoding)
        self.count("pieces")
        with noted(heard, (actor.id, body)):
            self._judge(heard, actor, start, end, mode)

    def _judge(self, heard: Heard, actor: Actor, start: int, end: int, mode: str) -> None:
        if heard.status != 200:
            judging.excuse(heard.slug, actor, heard.since, heard.until)
            return
        states = actor.history.during(heard.since, heard.until)
        taken, done = pieces.take_apart(heard.body)
        at = start
        found: list[judging.Part] = []
        for piece in taken:
            if piece.address != at:
                raise Wrong(f"a piece begins at {piece.address:#x}, not {at:#x}")
            region = [(at, piece.length)]
            if piece.kind == "data":
                found += judging.parts(region, (), piece.data)
            elif piece.kind == "gap":
                gap = {"region": 0, "offset": 0, "address": hex(at), "length": piece.length}
                gaps = [{**gap, "reason": piece.reason}]
                found += judging.parts(region, gaps, bytes(piece.length))
            else:
                raise Wrong("there are zeros where none are")
            at += piece.length
        judging.judge_parts(actor, found, states, mode)
        if done and at != end:
            raise Wrong("it says that it is done, and is not")
        if not done and not any(not each.is_alive or each.is_loading for each in states):
            raise Wrong("it was cut off")
