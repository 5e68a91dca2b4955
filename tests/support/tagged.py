"""Every route with an address that has a tag in its highest byte, as programs on arm64 have them.

Each function is one route, and fails where it does not take the address for what is there, or does
not answer with the client's own.
"""

from __future__ import annotations

import base64
import json
import platform
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from support import ignoring
from support.folders import open_folder
from support.pieces import take_apart
from support.websocket import WebSocket
from support.wire import Served

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.sample import Sample

TAGS = (0x01, 0x5A, 0x80)
IGNORED_HERE = platform.machine() == "aarch64"
_NEEDLE = 48


@contextmanager
def service(*flags: str) -> Iterator[Served]:
    """Run a service of arm64's; on another machine, one that takes addresses as on arm64."""
    under = () if IGNORED_HERE else (sys.executable, ignoring.__file__)
    with open_folder() as folder, Served(folder, *flags, under=under) as started:
        yield started


@dataclass(frozen=True, slots=True)
class Place:
    """Memory of a target, by an address with a tag; ``size`` bytes, and behind them a closed page.

    The service may write.
    """

    served: Served
    target: str
    sample: Sample
    tag: int

    @property
    def first(self) -> int:
        return self.sample.address | self.tag << 56

    @property
    def closed(self) -> int:
        return self.first + self.sample.size

    def path(self, name: str) -> str:
        return f"/v1/targets/{self.target}/{name}"

    def post(self, name: str, body: object) -> Any:  # noqa: ANN401 - whatever the service says
        reply = self.served.request("POST", self.path(name), body)
        assert reply.status == 200, reply
        return reply

    def edge(self, **members: object) -> dict[str, object]:
        """Return a read of the beginning, and of what is around the closed edge."""
        addresses = [hex(self.first + 5), hex(self.closed - 8)]
        return {"addresses": addresses, "lengths": [16, 16], **members}

    def check_edge(self, shown: dict[str, Any], data: bytes) -> None:
        wanted = self.sample.bytes(5, 16) + self.sample.bytes(self.sample.size - 8, 8) + bytes(8)
        assert data == wanted, (shown, data)
        (gap,) = shown["gaps"]
        assert (gap["region"], gap["offset"], gap["length"]) == (1, 8, 8)
        assert (gap["address"], gap["reason"]) == (hex(self.closed), "no_access")


def readv(place: Place) -> None:
    for mode in ("wait", "nowait"):
        shown = place.post("readv", place.edge(mode=mode)).json
        place.check_edge(shown, base64.b64decode(shown["data"]))


def many(place: Place) -> None:
    reads = [{"target": place.target, **place.edge()}] * 2
    reply = place.served.request("POST", "/v1/readv", {"reads": reads, "mode": "nowait"})
    assert reply.status == 200, reply
    for shown in reply.json["results"]:
        place.check_edge(shown, base64.b64decode(shown["data"]))


def bulk(place: Place) -> None:
    for mode in ("wait", "nowait"):
        wanted = {"Range": f"bytes={place.closed - 100}-{place.closed + 99}"}
        reply = place.served.request("GET", place.path(f"memory?mode={mode}"), headers=wanted)
        assert reply.status == 206, reply
        assert reply.headers["content-range"] == f"bytes {place.closed - 100}-{place.closed - 1}/*"
        assert reply.body == place.sample.bytes(place.sample.size - 100, 100)
        refused = {"Range": f"bytes={place.closed}-{place.closed + 99}"}
        reply = place.served.request("GET", place.path(f"memory?mode={mode}"), headers=refused)
        assert (reply.status, reply.json["gap"]["address"]) == (416, hex(place.closed))


def pieces(place: Place) -> None:
    for mode in ("wait", "nowait"):
        ranges = [[hex(place.closed - 100), hex(place.closed + 100)]]
        found, done = take_apart(place.post("memory", {"ranges": ranges, "mode": mode}).body)
        assert done is not None
        data, gap = found
        assert (data.address, data.data) == (
            place.closed - 100,
            place.sample.bytes(place.sample.size - 100, 100),
        )
        assert (gap.address, gap.length, gap.reason) == (place.closed, 100, "no_access")


def stream(place: Place) -> None:
    with place.served.connect() as sock, WebSocket(sock) as ws:
        shown, data = ws.ask({"id": 1, "target": place.target, **place.edge(mode="nowait")})
        place.check_edge(shown, data)


def subscription(place: Place) -> None:
    with place.served.connect() as sock, WebSocket(sock) as ws:
        wanted = {"target": place.target, "hz": 100, **place.edge(mode="nowait")}
        assert ws.ask({"id": 2, "subscribe": wanted})[0]["subscribed"] is True
        for _ in range(2):
            place.check_edge(*ws.next())


def plan(place: Place) -> None:
    word = int.from_bytes(place.sample.bytes(8, 8), "little")
    steps = [
        {"id": "here", "read": "u64", "at": hex(place.first + 8)},
        {"id": "closed", "read": "u64", "at": hex(place.closed)},
    ]
    for mode in ("wait", "nowait"):
        shown = place.post("plan", {"steps": steps, "mode": mode}).json
        assert shown["steps"]["here"]["addresses"] == [hex(place.first + 8)]
        assert shown["steps"]["here"]["columns"]["value"] == [word]
        assert [each["address"] for each in shown["gaps"]] == [hex(place.closed)]


def search(place: Place) -> None:
    pattern = {"hex": place.sample.bytes(_NEEDLE, 16).hex(" ")}
    ranges = [[hex(place.first), hex(place.first + 128)]]
    for more in ({"ranges": ranges}, {"within": [hex(place.first + _NEEDLE)]}):
        for mode in ("wait", "nowait"):
            body = {"pattern": pattern, "mode": mode, **more}
            lines = map(json.loads, place.post("search", body).body.splitlines())
            found = [line["match"]["address"] for line in lines if "match" in line]
            assert found == [hex(place.first + _NEEDLE)], more


def mapping(place: Place) -> None:
    start = hex(place.sample.address)
    for query in (f"address={place.first + 5:#x}", f"from={place.first:#x}"):
        reply = place.served.request("GET", place.path(f"maps?{query}"))
        assert reply.json["mappings"][0]["start"] == start, reply


def file(place: Place) -> None:
    found = place.served.request("GET", place.path("maps")).json["mappings"]
    first = next(int(each["start"], 16) for each in found if each["path"].startswith("/"))
    tagged = hex(first | place.tag << 56)
    reply = place.served.request(
        "GET", place.path(f"file?address={tagged}"), headers={"Range": "bytes=0-3"}
    )
    assert (reply.status, reply.body) == (206, b"\x7fELF")


def write(place: Place) -> None:
    for mode in ("wait", "nowait"):
        before = place.sample.bytes(8, 8)
        body = {
            "addresses": [hex(place.first + 8), hex(place.closed)],
            "data": [base64.b64encode(each).decode() for each in (before[::-1], b"no")],
            "allow_shared": True,
            "mode": mode,
        }
        shown = place.post("writev", body).json
        assert (shown["written"], shown["verified"]) == (8, True), shown
        assert base64.b64decode(shown["before"])[:8] == before
        assert [each["address"] for each in shown["gaps"]] == [hex(place.closed)]
        again = base64.b64encode(before).decode()
        back = {"addresses": [hex(place.first + 8)], "data": [again], "allow_shared": True}
        assert place.post("writev", back).json["written"] == 8


def core(place: Place) -> None:
    reply = place.served.request("GET", place.path("core"))
    assert (reply.status, reply.body[:4]) == (200, b"\x7fELF")


ROUTES: tuple[Callable[[Place], None], ...] = (
    *(readv, many, bulk, pieces, stream, subscription, plan, search, mapping, file, write, core),
)
