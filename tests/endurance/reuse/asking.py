"""All that a service can be asked about one target, and whose memory an answer is.

The target's generation tells: its words are full of it, it is called by it, and it decides what can
be read. What is neither the target's nor says that the target is gone is an impostor's.
"""

from __future__ import annotations

import base64
import json
import select
import struct
from dataclasses import dataclass
from http.client import IncompleteRead
from typing import TYPE_CHECKING, Any

from support.ending import Ending
from support.frames import FRAME, take_apart
from support.pid_reuse import MARKER, PAGE
from support.pieces import take_apart as take_pieces_apart
from support.serving import UnixConnection
from support.waiting import PATIENCE_S
from support.websocket import WebSocket

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from support.wire import Served

OWN, GONE, IMPOSTOR = "own", "gone", "impostor"
"""Whose an answer is: the target's, that of a target that has exited, or somebody else's."""

READ_BYTES = 1024
"""Of the first page: behind them is what the service and the control write to."""
SLOTS = 64
CAREFUL, NAIVE = MARKER + 1024, MARKER + 2048
PLACES = (MARKER, MARKER + PAGE)

_BOTH = {"addresses": PLACES, "lengths": 8}
_MANY_REGIONS = 300
_LONG = {"addresses": PLACES * _MANY_REGIONS, "lengths": 8}
_PAGES = [[hex(MARKER), hex(MARKER + READ_BYTES)], [hex(PLACES[1]), hex(PLACES[1] + PAGE)]]
_RANGE = ("Range", f"bytes={MARKER}-{MARKER + READ_BYTES - 1}")
_ROWS = 16
_PLAN = {
    "types": {"word": {"size": 8, "fields": {"value": [0, "u64"]}}},
    "steps": [
        {"id": "first", "array": "word", "at": hex(MARKER), "count": _ROWS, "max": _ROWS},
        {"id": "second", "read": "word", "at": hex(PLACES[1])},
    ],
    "mode": "wait",
}
_STREAM_READS = 4
_HZ = 500


@dataclass(frozen=True, slots=True)
class Answer:
    """Status and body of an answer, and whose memory it should be."""

    status: int
    body: bytes
    generation: int

    @property
    def json(self) -> Any:  # noqa: ANN401 - whatever the service says
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one question: whose answer it is, or the slug of a problem."""

    way: str
    whose: str
    answer: object


@dataclass(frozen=True, slots=True)
class Request:
    """One request; ``is_own`` looks at an answer that is no problem."""

    method: str
    path: str
    is_own: Callable[[Answer], bool]
    body: object = None
    headers: tuple[tuple[str, str], ...] = ()


def word(generation: int) -> bytes:
    """Return what its memory is full of."""
    return struct.pack("=Q", generation)


def _has_second_page(generation: int) -> bool:
    return bool(generation % 2)


def _is_read(shown: Mapping[str, Any], data: bytes, generation: int, times: int = 1) -> bool:
    second = word(generation) if _has_second_page(generation) else bytes(8)
    closed = set() if _has_second_page(generation) else {(1, "no_access")}
    gaps = {(gap["region"] % 2, gap["reason"]) for gap in shown["gaps"]}
    return data == (word(generation) + second) * times and gaps == closed


def _read(answer: Answer) -> bool:
    shown = answer.json
    return _is_read(shown, base64.b64decode(shown["data"]), answer.generation)


def _read_as_frame(answer: Answer) -> bool:
    return _is_read(*take_apart(answer.body), answer.generation, _MANY_REGIONS)


def _range(answer: Answer) -> bool:
    return answer.body == word(answer.generation) * (READ_BYTES // 8)


def _pieces(answer: Answer) -> bool:
    """Look at what has come: it may end behind any piece, with the target."""
    pieces, _done = take_pieces_apart(answer.body)
    kinds = ["data", "data" if _has_second_page(answer.generation) else "gap"]
    own = word(answer.generation)
    return [piece.kind for piece in pieces] == kinds[: len(pieces)] and all(
        piece.data == own * (len(piece.data) // 8) for piece in pieces
    )


def _written(answer: Answer) -> bool:
    return base64.b64decode(answer.json["before"]) == word(answer.generation)


def _named(answer: Answer) -> bool:
    return bool(answer.json["comm"] == f"g{answer.generation}")


def _mapped(answer: Answer) -> bool:
    perms = "rw-p" if _has_second_page(answer.generation) else "---p"
    return [mapping["perms"] for mapping in answer.json["mappings"]] == [perms]


def _planned(answer: Answer) -> bool:
    steps, gaps = answer.json["steps"], answer.json["gaps"]
    first, second = (steps[name]["columns"]["value"] for name in ("first", "second"))
    is_second = second == [answer.generation] if _has_second_page(answer.generation) else not second
    closed = [] if _has_second_page(answer.generation) else ["no_access"]
    own = [answer.generation] * _ROWS
    return first == own and is_second and [gap["reason"] for gap in gaps] == closed


def _found(answer: Answer) -> bool:
    """Look at what was found: all of it, unless the target has exited meanwhile."""
    lines = [json.loads(line) for line in answer.body.splitlines()]
    matches = sum("match" in line for line in lines)
    done = lines[-1].get("done") if lines else None
    there = READ_BYTES + (PAGE if _has_second_page(answer.generation) else 0)
    return matches == there // 8 or done is None or done["stopped"] == "target-exited"


def _listed(answer: Answer) -> bool:
    return [each["comm"] for each in answer.json["threads"]] == [f"g{answer.generation}"]


def _requests(target: str, generation: int, area: int) -> dict[str, Request]:
    """Return what is asked of a target; a write goes to a slot of its own in ``area``.

    The next one with that slot comes 64 generations later, so that a stray write leaves evidence.
    """
    path = f"/v1/targets/{target}"
    data = base64.b64encode(word(generation)).decode()
    written = {"addresses": [area + 8 * (generation % SLOTS)], "data": [data]}
    as_frame = (("Accept", FRAME),)
    pattern = {"number": generation, "type": "u64"}
    search = {"pattern": pattern, "ranges": _PAGES, "mode": "wait", "context": 0}
    return {
        "readv": Request("POST", f"{path}/readv", _read, _BOTH),
        "readv nowait": Request("POST", f"{path}/readv", _read, {**_BOTH, "mode": "nowait"}),
        "readv of many regions": Request("POST", f"{path}/readv", _read_as_frame, _LONG, as_frame),
        "bulk": Request("GET", f"{path}/memory", _range, headers=(_RANGE,)),
        "pieces": Request("POST", f"{path}/memory", _pieces, {"ranges": _PAGES}),
        "maps": Request("GET", f"{path}/maps?address={PLACES[1]:#x}", _mapped),
        "target": Request("GET", path, _named),
        "registration by id": Request("POST", "/v1/targets", _named, {"id": target}),
        "plan": Request("POST", f"{path}/plan", _planned, _PLAN),
        "search": Request("POST", f"{path}/search", _found, search),
        "threads": Request("GET", f"{path}/threads", _listed),
        "writev": Request("POST", f"{path}/writev", _written, written),
    }


STREAM, SUBSCRIPTION = "stream", "subscription"
_LINES = tuple(_requests("", 0, 0))
EVERYTHING = (*_LINES, STREAM)


class Asker(Ending):
    """Somebody who asks one service about one target after the other.

    ``area`` is where it writes to. Questions are put without waiting for their answers.
    """

    def __init__(self, service: Served, area: int) -> None:
        self._area = area
        self._lines = {name: UnixConnection(service.path) for name in (*_LINES, "other")}
        self._stream = WebSocket(service.connect())
        self._subscribed = False
        self._asked = self._unanswered = 0
        self._target = ""
        self._requests: dict[str, Request] = {}
        self.generation = 0

    def end(self) -> None:
        self._stream.end()
        for line in self._lines.values():
            line.close()

    def register(self, number: int, generation: int) -> None:
        """Have a target of the process that has the number, which lives."""
        self.generation = generation
        request = Request("POST", "/v1/targets", _named, {"pid": number})
        self._send("other", request)
        answer = self._take_answer("other")
        assert answer.status == 201, answer
        assert _named(answer), answer
        self._target = answer.json["id"]
        self._requests = _requests(self._target, generation, self._area)

    def release(self) -> None:
        """Let go of the target, whatever became of it."""
        self._send("other", Request("DELETE", f"/v1/targets/{self._target}", _named))
        answer = self._take_answer("other")
        assert answer.status == 204, answer

    def subscribe(self) -> None:
        """Begin to sample it; that ends with the target."""
        wanted = {"target": self._target, **_BOTH, "hz": _HZ}
        self._stream.send({"id": 0, "subscribe": wanted})
        self._subscribed = True

    def begin(self, names: Sequence[str]) -> None:
        """Ask."""
        for name in names:
            if name == STREAM:
                self._begin_stream()
            else:
                self._send(name, self._requests[name])

    def await_answer(self, name: str) -> None:
        """Wait until the answer to one of those questions comes, without taking it."""
        sock = self._stream.sock if name == STREAM else self._lines[name].sock
        select.select([sock], [], [], PATIENCE_S)

    def finish(self, names: Sequence[str]) -> Iterator[Outcome]:
        """Take the answers to what was begun."""
        for name in names:
            if name == STREAM:
                while self._unanswered:
                    yield self._take_frame()
                continue
            answer = self._take_answer(name)
            yield Outcome(name, _judge(answer, self._requests[name].is_own), answer)

    def finish_subscription(self) -> Iterator[Outcome]:
        """Take ticks up to the end of the sampling."""
        while self._subscribed:
            yield self._take_frame()

    def _send(self, name: str, request: Request) -> None:
        body = None if request.body is None else json.dumps(request.body).encode()
        headers = dict(request.headers)
        if body is not None:
            headers["Content-Type"] = "application/json"
        self._lines[name].request(request.method, request.path, body, headers)

    def _take_answer(self, name: str) -> Answer:
        line = self._lines[name]
        response = line.getresponse()
        try:
            body = response.read()
        except IncompleteRead as cut:  # the target has exited behind the first piece
            body = cut.partial
            line.close()
        return Answer(response.status, body, self.generation)

    def _begin_stream(self) -> None:
        for number in range(_STREAM_READS):
            self._asked += 1
            self._unanswered += 1
            mode = "nowait" if number % 2 else "wait"
            self._stream.send({"id": self._asked, "target": self._target, **_BOTH, "mode": mode})

    def _take_frame(self) -> Outcome:
        shown, data = self._stream.next()
        is_read = shown["id"] != 0
        self._unanswered -= is_read
        whose = OWN
        if "ended" in shown:
            self._subscribed = False
            whose = GONE if shown["ended"] == "target-exited" else shown["ended"]
        elif "problem" in shown:
            self._subscribed &= is_read
            whose = _judge_problem(shown["problem"], self.generation)
        elif "subscribed" not in shown and not _is_read(shown, data, self.generation):
            whose = IMPOSTOR
        return Outcome(STREAM if is_read else SUBSCRIPTION, whose, (shown, data))


def _judge(answer: Answer, is_own: Callable[[Answer], bool]) -> str:
    if answer.status >= 400:
        return _judge_problem(answer.json, answer.generation)
    return OWN if is_own(answer) else IMPOSTOR


def _judge_problem(problem: Mapping[str, Any], generation: int) -> str:
    """Tell what stands against it: a target that is gone, as it was, or the problem's slug."""
    slug = str(problem["type"]).removeprefix("urn:farpeek:problem:")
    if slug != "target-exited":
        return slug
    target = problem.get("target")
    is_told = isinstance(target, dict)
    return IMPOSTOR if is_told and target["comm"] != f"g{generation}" else GONE
