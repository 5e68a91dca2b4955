"""The gateway by HTTPS: a certificate is who asks, for the broker and the nodes too."""

from __future__ import annotations

import http.client
import json
import signal
import ssl
from typing import TYPE_CHECKING, Final, NamedTuple

import pytest
import trustme

from farpeek_api.client import Client
from support.audits import left_in
from support.fleet import ALICE, BOB
from support.gateway import GatewayProcess
from support.https import CA, Files, trusting
from support.policies import entry
from support.sample import Sample
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from support.fleet import Fleet

N1 = "/v1/nodes/n1"
SIZE = 3 << 20
POLICY: Final = (
    entry("alice", ALICE, rest="tls_san = ['alice.example']")
    + entry("bob", BOB, ["inspect", "read"])
    + "[clients.mallory]\ntls_san = ['mallory.example']\nverbs = ['inspect']\n"
)


class Said(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def slug(self) -> str:
        return str(json.loads(self.body)["type"]).rpartition(":")[2]


class Https(NamedTuple):
    gateway: GatewayProcess
    files: Files

    @property
    def port(self) -> int:
        return self.gateway.port_of("https")

    def ask(
        self,
        trust: ssl.SSLContext,
        path: str = f"{N1}/v1/info",
        headers: Mapping[str, str] | None = None,
        method: str = "GET",
        body: str | None = None,
    ) -> Said:
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=60, context=trust)
        try:
            connection.request(method, path, body, headers=dict(headers or {}))
            answer = connection.getresponse()
            return Said(answer.status, dict(answer.headers), answer.read())
        finally:
            connection.close()


@pytest.fixture(scope="module")
def https(fleet: Fleet) -> Iterator[Https]:
    files = Files(fleet.folder)
    flags = (*files.flags, "--tls-client-ca", str(files.client_ca))
    listen = ("--listen", "https://127.0.0.1:0")
    with GatewayProcess(fleet.broker, fleet.folder, *listen, *flags, policy=POLICY) as gateway:
        yield Https(gateway, files)


@pytest.fixture(scope="module")
def alice() -> ssl.SSLContext:
    return trusting(client=CA.issue_cert("alice.example"))


def test_who_a_certificate_is_asks_nodes_in_that_name(
    fleet: Fleet, https: Https, alice: ssl.SSLContext
) -> None:
    said = https.ask(alice, headers={"X-Request-Id": "by-certificate"})
    assert said.status == 200, said
    (line,) = left_in(
        fleet.folder / "audit", lambda line: line.get("request_id") == "by-certificate", 1
    )
    assert (line["client"], line["by"]) == ("alice", "agent")


def test_another_has_the_verbs_and_the_key_of_its_own(https: Https) -> None:
    mallory = trusting(client=CA.issue_cert("mallory.example"))
    assert "mallory.nk" in str(https.ask(mallory).body), "which has no key at the broker"
    assert https.ask(mallory, "/metrics").slug == "forbidden"


def test_of_a_certificate_that_says_nobody_nobody_asks(https: Https) -> None:
    unnamed = trusting(client=CA.issue_cert("bob.example"))
    said = https.ask(unnamed)
    assert (said.status, said.slug) == (401, "unauthenticated")
    stranger = trusting(client=trustme.CA().issue_cert("alice.example"))
    with pytest.raises((ssl.SSLError, ConnectionError, http.client.HTTPException)):
        https.ask(stranger)
    with pytest.raises(ssl.SSLCertVerificationError):
        https.ask(ssl.create_default_context())


def test_without_a_certificate_a_token_lets_in_and_nothing_does_not(
    https: Https, alice: ssl.SSLContext
) -> None:
    assert https.ask(trusting()).slug == "unauthenticated"
    assert https.ask(trusting(), "/v1/nodes").slug == "unauthenticated"
    assert https.ask(trusting(), headers={"Authorization": f"Bearer {BOB}"}).status == 200
    wrong = https.ask(alice, headers={"Authorization": "Bearer nonsense"})
    assert wrong.slug == "unauthenticated", "what is sent is judged"
    assert https.ask(trusting(), "/readyz").status == 200


def test_long_ranges_come_whole(https: Https, alice: ssl.SSLContext) -> None:
    with Sample(SIZE) as sample:
        sent = {"Content-Type": "application/json"}
        body = json.dumps({"pid": sample.pid})
        made = https.ask(alice, f"{N1}/v1/targets", sent, "POST", body)
        target = json.loads(made.body)["id"]
        wanted = {"Range": f"bytes={sample.address}-{sample.address + SIZE - 1}"}
        said = https.ask(alice, f"{N1}/v1/targets/{target}/memory", wanted)
        assert (said.status, said.body == sample.bytes(0, SIZE)) == (206, True)


def test_the_client_asks_and_hears_by_it(https: Https, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(https.files.client_ca))
    with (
        Sample() as sample,
        Client(f"https://127.0.0.1:{https.port}{N1}", token=ALICE) as peek,
    ):
        target = peek.target(sample.pid)
        with peek.stream() as stream:
            ticks = stream.subscribe(target, [(sample.address, 8)], hz=50)
            assert next(iter(ticks)).data == sample.bytes(0, 8)


def test_a_new_certificate_is_taken_on_sighup(https: Https) -> None:
    """The last of this module: from here on the gateway is another's."""
    other = trustme.CA()
    https.files.write(other.issue_cert("127.0.0.1"))
    https.gateway.process.send_signal(signal.SIGHUP)

    def is_new() -> bool:
        try:
            return https.ask(trusting(other), "/livez").status == 200
        except (ssl.SSLError, ConnectionError):
            return False

    until(is_new, "the new certificate is served")
    with pytest.raises(ssl.SSLCertVerificationError):
        https.ask(trusting(), "/livez")
