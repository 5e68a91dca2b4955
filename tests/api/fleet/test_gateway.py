"""A node by the gateway is a service like any: what it answers by HTTP it answers here."""

from __future__ import annotations

import http.client
import json
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from farpeek_api.client import Client
from farpeek_api.operations import OPERATIONS
from support.audits import left_in
from support.example_requests import differences
from support.fleet import ALICE, BOB, MALLORY, volatile
from support.gateway import GatewayProcess
from support.sample import Sample
from support.serving import put
from support.waiting import PATIENCE_S, until
from support.websocket import WebSocket, handshake
from support.wire import UnixConnection

if TYPE_CHECKING:
    from collections.abc import Iterator

    from farpeek_api.operations.operation import Operation
    from support.fleet import Fleet
    from support.serving import Reply

N1 = "/v1/nodes/n1"
SIZE = 5 << 20
ENDING = {"release", "delete_match"}
"""What others need would end by these."""
OWN = {"stream_ticket", "page", "page_file"}
"""What a ticket opens is here, so it is made here; and a page of a node's would speak for us."""
WITH_END = [each for each in OPERATIONS if not each.is_endless and each.id not in OWN]
OF_ONE_CONNECTION = {"x-request-id", "date", "server", "transfer-encoding", "connection"}
OF_THE_NODES_PAGES = {"referrer-policy", "cross-origin-opener-policy", "content-length"}
EXACT = {"application/octet-stream", "text/html", "text/javascript", "text/css", "image/svg+xml"}


@pytest.fixture(scope="module")
def sample() -> Iterator[Sample]:
    with Sample(SIZE) as process:
        yield process


@pytest.fixture(scope="module")
def target(fleet: Fleet, sample: Sample) -> str:
    return str(fleet.asking.service.register(sample.pid).json["id"])  # type: ignore[attr-defined]  # it is an As


def name(operation: Operation) -> str:
    return operation.id


def requests(fleet: Fleet, operation: Operation) -> list[tuple[str, Any, dict[str, str]]]:
    """Return path, body and headers of all of an operation's examples, or of one request."""
    asking = fleet.asking
    headers = {}
    if "Range" in operation.headers:
        headers["Range"] = f"bytes={asking.address}-{asking.address + 15}"
    bodies = [each.body for each in operation.examples if each.body is not None]
    if operation.body is None:
        bodies = [None]
    path = asking.path(operation) + asking.needed(operation)
    if operation.id in ENDING:
        path += "-no"  # there is none of that name
    return [(path, asking.ours(body), headers) for body in bodies or [{}]]


def same(by_http: Reply, by_gateway: Reply) -> None:
    assert by_gateway.status == by_http.status, by_gateway
    ours = by_http.headers.keys() - OF_ONE_CONNECTION - OF_THE_NODES_PAGES
    assert ours <= by_gateway.headers.keys()
    kind = by_http.headers.get("content-type", "").partition(";")[0]
    assert by_gateway.headers.get("content-type", "").partition(";")[0] == kind
    if kind in EXACT:
        assert by_gateway.body == by_http.body
    elif kind.endswith("json") and "ndjson" not in kind and by_http.body:
        there, here = volatile(by_http.json), volatile(by_gateway.json)
        if by_http.status >= 400:
            assert here.pop("node") == "n1"
        assert differences(there, here) == []
        assert there.get("data") == here.get("data")


@pytest.mark.parametrize("operation", WITH_END, ids=name)
def test_each_operation_has_the_answer_that_the_service_has(
    fleet: Fleet, gateway: GatewayProcess, operation: Operation
) -> None:
    for path, body, headers in requests(fleet, operation):
        by_http = fleet.asking.service.request(operation.method, path, body, headers)
        same(by_http, gateway.request(operation.method, N1 + path, body, headers))


@pytest.mark.parametrize("operation", WITH_END, ids=name)
def test_a_problem_is_the_one_that_the_service_has_and_says_whose(
    fleet: Fleet, gateway: GatewayProcess, operation: Operation
) -> None:
    path = operation.path.format(id="1-1", name="none") + "?nonsense=1"
    body = None if operation.body is None else {"nonsense": 1}
    by_http = fleet.asking.service.request(operation.method, path, body)
    same(by_http, gateway.request(operation.method, N1 + path, body))


def test_a_node_of_which_nobody_knows(gateway: GatewayProcess) -> None:
    reply = gateway.request("GET", "/v1/nodes/n9/v1/info")
    assert (reply.status, reply.slug, reply.json["node"]) == (404, "unknown-node", "n9")
    assert gateway.request("GET", "/v1/nodes/N9/v1/info").slug == "unknown-node"
    assert gateway.request("GET", f"{N1}/v1/nothing").slug == "unknown-operation"
    assert gateway.request("GET", "/v1/nothing").slug == "not-found"


def test_who_asks_has_to_show_who_that_is(gateway: GatewayProcess) -> None:
    path = f"{N1}/v1/info"
    nobody = gateway.request("GET", path, headers={"Authorization": "Bearer x"})
    assert (nobody.status, nobody.slug) == (401, "unauthenticated")
    elsewhere = gateway.request("GET", path, headers={"Host": "elsewhere.example"})
    assert elsewhere.slug == "forbidden"
    assert gateway.request("GET", path, headers={"Origin": "http://evil.example"}).status == 403
    assert gateway.request("GET", "/livez").status == 200


def test_the_node_knows_each_client_by_its_name(fleet: Fleet, gateway: GatewayProcess) -> None:
    sent = {"X-Request-Id": "by-gateway"}
    assert gateway.request("GET", f"{N1}/v1/info", headers=sent).status == 200
    (line,) = left_in(
        fleet.folder / "audit", lambda line: line.get("request_id") == "by-gateway", 1
    )
    assert (line["client"], line["by"], line["outcome"]) == ("alice", "agent", "done")
    path = f"{N1}/v1/targets/{fleet.asking.target}"
    assert gateway.request("GET", path, token=ALICE).status == 200
    assert gateway.request("GET", path, token=BOB).slug == "no-such-target"


def test_a_policy_allows_no_more_than_its_verbs(gateway: GatewayProcess) -> None:
    reply = gateway.request("POST", f"{N1}/v1/targets", {"pid": 1}, token=BOB)
    assert (reply.slug, reply.json["verb"], "node" in reply.json) == (
        "forbidden",
        "register",
        False,
    )


def test_a_client_without_a_key_asks_nobody(gateway: GatewayProcess) -> None:
    reply = gateway.request("GET", f"{N1}/v1/info", token=MALLORY)
    assert (reply.status, reply.slug) == (403, "forbidden")
    assert "mallory.nk" in reply.json["detail"]


def test_nothing_that_a_node_sends_is_a_page_of_the_gateways(gateway: GatewayProcess) -> None:
    reply = gateway.request("GET", f"{N1}/docs")
    assert reply.status == 200
    assert "sandbox" in reply.headers["content-security-policy"]
    assert "script-src" not in reply.headers["content-security-policy"]


def test_the_page_is_the_gateways_own(gateway: GatewayProcess, fleet: Fleet) -> None:
    for path in ("/", f"{N1}/", "/ui/app.js", f"{N1}/ui/app.js"):
        reply = gateway.request("GET", path, token="wrong")  # noqa: S106 - which is not looked at
        assert (reply.status, "'self'" in reply.headers["content-security-policy"]) == (200, True)
    assert gateway.request("GET", "/").body != gateway.request("GET", f"{N1}/").body
    assert gateway.request("POST", f"{N1}/", token="wrong").status == 401  # noqa: S106 - the same
    folder = fleet.folder / "bare"
    folder.mkdir()
    with GatewayProcess(fleet.broker, folder, "--no-ui") as bare:
        assert bare.request("GET", "/").slug == "not-found"
        assert bare.request("GET", f"{N1}/", token="wrong").status == 401  # noqa: S106 - the same
        assert "sandbox" in bare.request("GET", f"{N1}/").headers["content-security-policy"]


def test_what_was_made_is_found_where_it_is_said_to_be(
    gateway: GatewayProcess,
) -> None:
    made = gateway.request("POST", f"{N1}/v1/matches", {"match": {"comm": "nobody-at-all"}})
    assert made.status == 201, made
    assert gateway.request("GET", made.headers["location"]).status == 200
    assert gateway.request("DELETE", made.headers["location"]).status == 204


def test_long_ranges_come_whole(
    fleet: Fleet, gateway: GatewayProcess, sample: Sample, target: str
) -> None:
    path = f"/v1/targets/{target}/memory"
    sent = {"Range": f"bytes={sample.address}-{sample.address + SIZE - 1}"}
    by_http = fleet.asking.service.request("GET", path, headers=sent)
    reply = gateway.request("GET", N1 + path, headers=sent)
    assert (reply.status, reply.body == by_http.body, len(reply.body)) == (206, True, SIZE)
    assert reply.headers["content-range"] == by_http.headers["content-range"]
    head = gateway.request("HEAD", N1 + path, headers=sent)
    assert (head.status, head.headers["content-length"], head.body) == (206, str(SIZE), b"")


def test_the_head_of_what_is_got_can_be_had_alone(gateway: GatewayProcess, target: str) -> None:
    for path in (f"{N1}/v1/targets/{target}/core", f"{N1}/v1/targets/{target}", f"{N1}/docs"):
        whole, head = gateway.request("GET", path), gateway.request("HEAD", path)
        assert (head.status, head.body) == (200, b"")
        assert head.headers["content-type"] == whole.headers["content-type"]
    assert gateway.request("HEAD", f"{N1}/v1/events").status == 404


def test_the_client_takes_a_node_behind_a_gateway_for_a_service(
    gateway: GatewayProcess, sample: Sample, tmp_path: Path
) -> None:
    with Client(f"http://127.0.0.1:{gateway.port}{N1}", token=ALICE) as peek:
        found = peek.target(sample.pid)
        found.dump(tmp_path / "dump", [(sample.address, sample.address + SIZE)])
        assert (tmp_path / "dump").read_bytes() == sample.bytes(0, SIZE)
        with peek.stream() as stream:
            reads = [stream.readv(found, [(sample.address, 8)]) for _ in range(100)]
            assert {each.result(PATIENCE_S).data for each in reads} == {sample.bytes(0, 8)}


def test_events_come_as_they_happen(gateway: GatewayProcess) -> None:
    with Sample() as process:
        one = gateway.request("POST", f"{N1}/v1/targets", {"pid": process.pid}).json["id"]
        connection = UnixConnection(gateway.path)
        connection.request(
            "GET", f"{N1}/v1/events?target={one}", headers={"Authorization": f"Bearer {ALICE}"}
        )
        answer = connection.getresponse()
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        gateway.request("DELETE", f"{N1}/v1/targets/{one}")
        text = b""
        while b"event: released" not in text:
            text += answer.readline()
        answer.close()
        connection.close()


def ended(fleet: Fleet) -> float:
    """Return how many streams of events have come to their end at the service."""
    shown = fleet.asking.service.request("GET", "/metrics").body.decode()
    counts = [each for each in shown.splitlines() if each.startswith("farpeek_requests_total{")]
    return sum(float(each.split()[-1]) for each in counts if '"GET /v1/events"' in each)


def test_whoever_goes_away_ends_what_it_has_asked_for(
    fleet: Fleet, gateway: GatewayProcess
) -> None:
    before = ended(fleet)
    connection = UnixConnection(gateway.path)
    connection.request("GET", f"{N1}/v1/events", headers={"Authorization": f"Bearer {ALICE}"})
    answer = connection.getresponse()
    assert (answer.status, ended(fleet)) == (200, before)
    answer.close()
    connection.close()
    until(lambda: ended(fleet) == before + 1, "the service has nobody to tell any more")


def memory_of(gateway: GatewayProcess) -> int:
    statm = Path(f"/proc/{gateway.process.pid}/statm").read_text()
    return int(statm.split()[1]) * os.sysconf("SC_PAGESIZE")


def test_what_nobody_takes_is_not_fetched(fleet: Fleet) -> None:
    """One who takes nothing holds a few messages of his answer, and is cut off in time."""
    size = 256 << 20
    folder = fleet.folder / "hurried"
    folder.mkdir()
    with (
        Sample(size) as large,
        GatewayProcess(fleet.broker, folder, "--deadline", "1") as hurried,
        hurried.connect() as sock,
    ):
        one = hurried.request("POST", f"{N1}/v1/targets", {"pid": large.pid}).json["id"]
        before = memory_of(hurried)
        head = (
            f"GET {N1}/v1/targets/{one}/memory HTTP/1.1",
            "Host: localhost",
            f"Authorization: Bearer {ALICE}",
            f"Range: bytes={large.address}-{large.address + size - 1}",
        )
        sock.sendall("\r\n".join((*head, "", "")).encode())
        assert sock.recv(1024).startswith(b"HTTP/1.1 206")
        until(lambda: "is cut off" in hurried.log, "whoever takes nothing is cut off")
        assert memory_of(hurried) - before < 32 << 20


def test_a_stream_is_spoken_both_ways(gateway: GatewayProcess, sample: Sample, target: str) -> None:
    request = handshake(Authorization=f"Bearer {ALICE}").replace(
        b"/v1/stream", f"{N1}/v1/stream".encode()
    )
    with WebSocket(gateway.connect(), request) as stream:
        for number in range(200):
            where = {"addresses": [hex(sample.address)], "lengths": [8]}
            stream.send({"id": number, "target": target, **where})
            _, answer = stream.receive()
            assert b'"id":%d,' % number in answer
            assert sample.bytes(0, 8) in answer


def test_a_browser_opens_its_stream_with_a_ticket_of_the_gateways(gateway: GatewayProcess) -> None:
    made = gateway.request("POST", f"{N1}/v1/stream/tickets")
    assert made.status == 200, made
    offered = f"farpeek.v1, farpeek.ticket.{made.json['ticket']}"
    path = f"{N1}/v1/stream"
    request = handshake(Sec_WebSocket_Protocol=offered).replace(b"/v1/stream", path.encode())
    with WebSocket(gateway.connect(), request):
        pass
    with gateway.connect() as again:
        again.sendall(request)
        assert again.recv(1024).startswith(b"HTTP/1.1 401 ")


def test_limits_are_those_of_the_service(gateway: GatewayProcess) -> None:
    path = f"{N1}/v1/targets"
    large = gateway.request("POST", path, b" " * (5 << 20))
    assert (large.status, large.slug) == (413, "too-large")
    too_large_for_the_broker = gateway.request("POST", path, b" " * (2 << 20))
    assert (too_large_for_the_broker.status, too_large_for_the_broker.slug) == (413, "too-large")
    assert "max_payload" in too_large_for_the_broker.json["detail"]


def test_a_policy_that_is_withdrawn_ends_what_goes_on(gateway: GatewayProcess) -> None:
    connection = UnixConnection(gateway.path)
    connection.request("GET", f"{N1}/v1/events", headers={"Authorization": f"Bearer {ALICE}"})
    answer = connection.getresponse()
    whole = gateway.policy
    gateway.reload(whole.replace("[clients.alice]", "[clients.alicia]"))
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        answer.read()
    connection.close()
    assert gateway.request("GET", f"{N1}/v1/info").slug == "forbidden", "alicia has no key"
    gateway.reload(whole)
    assert json.loads(gateway.request("GET", f"{N1}/v1/info").body)["version"]


def test_without_a_policy_whoever_gets_in_asks_as_one_client(fleet: Fleet) -> None:
    folder = fleet.folder / "one"
    folder.mkdir()
    key = str(fleet.broker.keys / "bob.nk")
    with GatewayProcess(fleet.broker, folder, "--client", "bob", "--nkey", key) as gateway:
        token = (gateway.path.parent / "token").read_text().strip()
        path = f"{N1}/v1/targets/{fleet.asking.target}"
        assert gateway.request("GET", path, token=token).slug == "no-such-target"
        assert gateway.request("GET", f"{N1}/v1/info", token=token).status == 200
        assert gateway.request("GET", f"{N1}/v1/info", token="x").status == 401  # noqa: S106 - no secret
        assert put(UnixConnection(gateway.path), "GET", f"{N1}/v1/info").status == 200


def test_it_ends_with_what_goes_on(fleet: Fleet) -> None:
    folder = fleet.folder / "ending"
    folder.mkdir()
    with GatewayProcess(fleet.broker, folder) as gateway:
        connection = UnixConnection(gateway.path)
        connection.request("GET", f"{N1}/v1/events", headers={"Authorization": f"Bearer {ALICE}"})
        answer = connection.getresponse()
        gateway.process.send_signal(signal.SIGTERM)
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            answer.read()
        connection.close()
        assert gateway.process.wait(PATIENCE_S) == 0
        assert not gateway.path.exists()


def test_a_broker_that_ends_is_told_of_at_once_and_found_again(
    fleet: Fleet, gateway: GatewayProcess
) -> None:
    connection = UnixConnection(gateway.path)
    connection.request("GET", f"{N1}/v1/events", headers={"Authorization": f"Bearer {ALICE}"})
    answer = connection.getresponse()
    connected = fleet.agent.log.count("connected to")
    fleet.broker.end()
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        answer.read()
    connection.close()
    reply = gateway.request("GET", f"{N1}/v1/info")
    assert (reply.status, reply.slug, reply.json["node"]) == (503, "broker-unreachable", "n1")
    fleet.broker.start()
    until(lambda: fleet.agent.log.count("connected to") > connected, "the agent is back")
    assert gateway.request("GET", f"{N1}/v1/info").status == 200
