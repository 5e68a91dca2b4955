"""Tickets: good once, for one stream, of the client that has asked, and for nothing else."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import TYPE_CHECKING

import pytest

from farpeek_api.gate import tickets
from farpeek_api.policy import tokens
from farpeek_api.serving.limits import MOST_TICKETS_OF_ONE
from support.audits import left_in
from support.in_process import in_process
from support.policies import EVERYTHING, As, Policed, entry
from support.targets import start
from support.websocket import WebSocket, handshake
from support.wire import Served, parse

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.wire import Reply

PATH = "/v1/stream/tickets"
ONE, TWO, GATEWAY = tokens.make(), tokens.make(), tokens.make()
POLICY = (
    entry("one", ONE, rest=f"targets = {EVERYTHING}")
    + entry("two", TWO, ["inspect"], f"targets = {EVERYTHING}")
    + entry("gateway", GATEWAY, rest=f'targets = {EVERYTHING}\nimpersonate = ["two"]')
)


def bearer(served: Served) -> dict[str, str]:
    return {"Authorization": f"Bearer {served.path.with_name('token').read_text().strip()}"}


def ticket_by_tcp(served: Served) -> str:
    reply = served.request_tcp("POST", PATH, bearer(served))
    assert reply.status == 200, reply
    assert reply.headers["cache-control"] == "no-store"
    return str(reply.json["ticket"])


def ticket_of(client: As | Served) -> str:
    return str(client.request("POST", PATH).json["ticket"])


def asking(ticket: str, **headers: str) -> bytes:
    """Write a browser's handshake."""
    return handshake(Sec_WebSocket_Protocol=f"farpeek.v1, farpeek.ticket.{ticket}", **headers)


def opened(sock: socket.socket, request: bytes) -> Reply:
    """Put a handshake; how it is answered."""
    with sock:
        sock.sendall(request)
        return parse(sock.recv(1 << 16))


def by_tcp(served: Served, request: bytes) -> Reply:
    return opened(socket.create_connection(("127.0.0.1", served.port), 20), request)


@pytest.fixture
def policed(folder: Path) -> Iterator[Policed]:
    with Policed(folder, POLICY) as service:
        yield service


def test_a_ticket_opens_one_stream_and_is_shown_to_nobody(served: Served) -> None:
    ticket = ticket_by_tcp(served)
    reply = by_tcp(served, asking(ticket))
    assert reply.status == 101
    assert reply.headers["sec-websocket-protocol"] == "farpeek.v1"
    assert not [each for each in reply.headers.values() if ticket in each]
    again = by_tcp(served, asking(ticket))
    assert (again.status, again.slug) == (401, "unauthenticated")
    assert again.headers["www-authenticate"] == "Bearer"
    assert ticket.encode() not in again.body
    assert ticket not in served.log


def test_a_stream_by_a_ticket_is_one_like_others(served: Served, target: str) -> None:
    with WebSocket(served.connect(), asking(ticket_of(served))) as ws:
        shown, _ = ws.ask({"id": 1, "target": target, "addresses": [0], "lengths": [8]})
        assert shown["id"] == 1


@pytest.mark.parametrize("wrong", ["", "x", "A" * 43, "@", "a" * 2000])
def test_a_wrong_ticket_is_judged_also_where_none_is_needed(served: Served, wrong: str) -> None:
    """The tests are root, or the service's own user, on its socket."""
    reply = opened(served.connect(), asking(wrong))
    assert (reply.status, reply.slug) == (401, "unauthenticated")


def test_a_ticket_is_good_for_nothing_but_a_stream(served: Served) -> None:
    headers = {"Sec-WebSocket-Protocol": f"farpeek.ticket.{ticket_by_tcp(served)}"}
    for path in ("/v1/info", "/v1/targets", "/v1/stream/"):
        assert served.request_tcp("GET", path, headers).status == 401
    assert served.request_tcp("POST", PATH, headers).status == 401


def test_a_ticket_is_good_where_it_was_made_alone(served: Served) -> None:
    for make, other in ((ticket_of, by_tcp), (ticket_by_tcp, _by_socket)):
        ticket = make(served)
        assert other(served, asking(ticket)).status == 401
        assert by_tcp(served, asking(ticket)).status == 401, "it has been used"


def _by_socket(served: Served, request: bytes) -> Reply:
    return opened(served.connect(), request)


def test_a_page_of_another_origin_cannot_use_it_up(served: Served) -> None:
    ticket = ticket_by_tcp(served)
    for headers in ({"Origin": "http://evil.example"}, {"Host": "evil.example"}):
        assert by_tcp(served, asking(ticket, **headers)).slug == "forbidden"
    origin = {"Host": f"127.0.0.1:{served.port}", "Origin": f"http://127.0.0.1:{served.port}"}
    assert by_tcp(served, asking(ticket, **origin)).status == 101


def test_what_says_two_things_is_refused(served: Served) -> None:
    ticket, token = ticket_by_tcp(served), bearer(served)
    assert by_tcp(served, asking(ticket, **token)).slug == "unauthenticated"
    twice = asking(f"{ticket}, farpeek.ticket.{ticket}")
    assert by_tcp(served, twice).slug == "unauthenticated"
    other = asking(ticket, Farpeek_On_Behalf_Of="two")
    assert by_tcp(served, other).slug == "forbidden"


def test_protocols_without_a_ticket_are_as_ever(served: Served) -> None:
    for offered, chosen in (
        ("farpeek.v1", "farpeek.v1"),
        ("x, farpeek.v1", "farpeek.v1"),
        ("x", ""),
    ):
        reply = opened(served.connect(), handshake(Sec_WebSocket_Protocol=offered))
        assert reply.status == 101
        assert reply.headers.get("sec-websocket-protocol", "") == chosen
    assert by_tcp(served, handshake(Sec_WebSocket_Protocol="farpeek.v1")).status == 401


def test_a_client_has_so_many_that_are_not_used(folder: Path) -> None:
    with Served(folder, "--listen", "http://127.0.0.1:0") as service:
        made = [ticket_by_tcp(service) for _ in range(MOST_TICKETS_OF_ONE)]
        assert len(set(made)) == MOST_TICKETS_OF_ONE
        refused = service.request_tcp("POST", PATH, bearer(service))
        assert (refused.status, refused.slug) == (429, "too-busy")
        assert refused.headers["retry-after"]
        assert service.request("POST", PATH).status == 200, "others have theirs"
        assert by_tcp(service, asking(made[0])).status == 101
        assert service.request_tcp("POST", PATH, bearer(service)).status == 200
        shown = service.request("GET", "/v1/info").json["limits"]
        assert shown["client_stream_tickets"] == MOST_TICKETS_OF_ONE


def test_who_may_open_no_more_streams_is_told_where_it_can_be_read(folder: Path) -> None:
    with Served(folder, "--max-client-streams", "1") as service:
        ticket = ticket_of(service)
        with WebSocket(service.connect(), asking(ticket)):
            refused = service.request("POST", PATH)
            assert (refused.status, refused.slug) == (429, "too-busy")
            assert "--max-client-streams" in refused.json["detail"]


async def test_an_old_ticket_is_none(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tickets, "LIFETIME_S", 0)
    async with in_process(folder) as (path, _):
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"POST %b HTTP/1.1\r\nHost: localhost\r\n\r\n" % PATH.encode())
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].split()[0])
        ticket = json.loads(await reader.readexactly(length))["ticket"]
        writer.write(asking(ticket))
        assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 401 ")
        writer.close()


def test_a_stream_by_a_ticket_has_the_rules_of_who_asked(policed: Policed) -> None:
    with start("plain") as process:
        target = As(policed, ONE).register(process.pid).json["id"]
        message = {"id": 1, "target": target, "addresses": [process["marker"]], "lengths": [8]}
        for client, may in ((As(policed, ONE), True), (As(policed, TWO), False)):
            with WebSocket(policed.connect(), asking(ticket_of(client))) as ws:
                shown, _ = ws.ask(message)
                assert ("problem" not in shown) == may
        for_two = As(policed, GATEWAY, Farpeek_On_Behalf_Of="two")
        with WebSocket(policed.connect(), asking(ticket_of(for_two))) as ws:
            assert ws.ask(message)[0]["problem"]["verb"] == "read"


def test_a_ticket_ends_with_the_policy_that_it_was_made_under(policed: Policed) -> None:
    ticket = ticket_of(As(policed, ONE))
    for _ in range(MOST_TICKETS_OF_ONE - 1):
        ticket_of(As(policed, ONE))
    policed.reload(POLICY)
    assert opened(policed.connect(), asking(ticket)).status == 401
    assert opened(policed.connect(), asking(ticket_of(As(policed, ONE)))).status == 101


def test_no_line_of_the_audit_has_a_ticket(folder: Path) -> None:
    path = folder / "audit"
    with Policed(folder, POLICY, "--audit", str(path)) as service:
        ticket = ticket_of(As(service, ONE))
        with WebSocket(service.connect(), asking(ticket)) as ws:
            ws.ask("nonsense")
        assert opened(service.connect(), asking(ticket)).status == 401
        for_two = ticket_of(As(service, GATEWAY, Farpeek_On_Behalf_Of="two"))
        WebSocket(service.connect(), asking(for_two, X_Request_Id="for-two")).end()
        (line, *_) = left_in(path, lambda line: line.get("request_id") == "for-two", 2)
        assert (line["client"], line["by"]) == ("two", "gateway")
        assert service.stop() == 0
    text = path.read_text()
    assert "unauthenticated" in text
    assert ticket not in text
    assert ticket not in service.log
