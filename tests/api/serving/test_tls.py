"""HTTPS: who is let in, what is refused at the start, and new files without a restart."""

from __future__ import annotations

import datetime as dt
import http.client
import json
import signal
import socket
import ssl
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import trustme

from farpeek_api.client import Client, Unreachable
from farpeek_api.serving.tls import Certificate, TlsError, TlsFiles, certificate, context
from support.https import CA, Files, serving, trusting
from support.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

    from support.sample import Sample


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def ask(
    port: int, trust: ssl.SSLContext, path: str = "/v1/info", headers: dict[str, str] | None = None
) -> tuple[int, dict[str, object]]:
    connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=60, context=trust)
    try:
        connection.request("GET", path, headers=headers or {})
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def test_a_token_is_needed_by_https_and_lets_in(folder: Path, files: Files) -> None:
    with serving(folder, files) as (served, port):
        token = (served.path.parent / "token").read_text().split()[-1]
        status, problem = ask(port, trusting())
        assert status == 401
        assert str(problem["type"]).endswith(":unauthenticated")
        status, info = ask(port, trusting(), headers={"Authorization": f"Bearer {token}"})
        assert status == 200
        assert f"https://127.0.0.1:{port}" in str(info["listeners"])
        with pytest.raises(ssl.SSLCertVerificationError):
            ask(port, ssl.create_default_context())


def test_plain_http_on_a_port_of_https_gets_no_answer_and_does_no_harm(
    folder: Path, files: Files
) -> None:
    with serving(folder, files) as (_, port):
        with socket.create_connection(("127.0.0.1", port), timeout=60) as sock:
            sock.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert b"HTTP/1.1 200" not in sock.recv(1024)
        assert ask(port, trusting(), "/livez")[0] == 200


def test_a_certificate_of_the_clients_ca_is_a_credential_and_of_another_is_none(
    folder: Path, files: Files
) -> None:
    with serving(folder, files, "--tls-client-ca", str(files.client_ca)) as (served, port):
        own = CA.issue_cert("spiffe.example", common_name="profiler", organization_name="acme, inc")
        assert ask(port, trusting(client=own))[0] == 200
        assert ask(port, trusting())[0] == 401
        stranger = trustme.CA().issue_cert("spiffe.example", common_name="profiler")
        with pytest.raises((ssl.SSLError, ConnectionError, http.client.HTTPException)):
            ask(port, trusting(client=stranger))
        wrong = {"Authorization": "Bearer nonsense"}
        assert ask(port, trusting(client=own), headers=wrong)[0] == 401, "what is sent is judged"
        assert "whoever has a certificate of" in served.log


def test_new_files_are_taken_on_sighup_and_bad_ones_change_nothing(
    folder: Path, files: Files
) -> None:
    with serving(folder, files) as (served, port):
        assert ask(port, trusting(), "/livez")[0] == 200
        files.key.write_text("nonsense")
        served.process.send_signal(signal.SIGHUP)
        until(lambda: "the certificate stays as it was before" in served.log, "it is refused")
        assert ask(port, trusting(), "/livez")[0] == 200
        other = trustme.CA()
        files.write(other.issue_cert("127.0.0.1"))

        def is_new() -> bool:
            try:
                return ask(port, trusting(other), "/livez")[0] == 200
            except (ssl.SSLError, ConnectionError):
                return False

        served.process.send_signal(signal.SIGHUP)
        until(is_new, "the new certificate is served")
        with pytest.raises(ssl.SSLCertVerificationError):
            ask(port, trusting(), "/livez")


def test_the_health_command_asks_by_https(folder: Path, files: Files) -> None:
    with serving(folder, files) as (_, port):
        command = [sys.executable, "-m", "farpeek_api", "health"]
        done = subprocess.run(
            [*command, "--listen", f"https://127.0.0.1:{port}"], timeout=30, check=False
        )
        assert done.returncode == 0


def test_files_that_will_not_do_are_refused_with_the_cure(files: Files, tmp_path: Path) -> None:
    assert context(files.files()).minimum_version >= ssl.TLSVersion.TLSv1_2
    files.key.chmod(0o644)
    with pytest.raises(TlsError, match=r"others can read the key .*: chmod o-r it"):
        context(files.files())
    folder = tmp_path / "other"
    folder.mkdir()
    other = Files(folder)
    with pytest.raises(TlsError, match=r"is not the key of .*tls\.crt"):
        context(TlsFiles(files.cert, other.key))
    with pytest.raises(TlsError, match="No such file"):
        context(TlsFiles(files.cert, tmp_path / "none"))
    other.cert.write_text("nonsense")
    with pytest.raises(TlsError, match="has no certificate in PEM"):
        context(other.files())


@pytest.mark.parametrize(
    ("begin", "end", "word"), [(-10, -1, "has expired"), (1, 10, "not yet valid")]
)
def test_a_certificate_that_is_not_valid_now_is_refused(
    tmp_path: Path, begin: int, end: int, word: str
) -> None:
    now = dt.datetime.now(dt.UTC)
    day = dt.timedelta(days=1)
    old = Files(tmp_path, not_before=now + begin * day, not_after=now + end * day)
    with pytest.raises(TlsError, match=word):
        context(old.files())


@pytest.mark.parametrize(
    ("flags", "word"),
    [
        (["--listen", "https://127.0.0.1:0"], "needs --tls-cert and --tls-key"),
        (["--tls-cert", "x", "--listen", "https://127.0.0.1:0"], "give both"),
        (["--tls-cert", "x", "--tls-key", "y"], "add --listen https://"),
        (["--listen", "http://0.0.0.0:0"], "make it https with --tls-cert"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(flags: list[str], word: str) -> None:
    command = [sys.executable, "-m", "farpeek_api", "serve", *flags]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 2
    assert word in done.stderr


def test_a_subject_is_written_as_rfc_4514_does() -> None:
    peer = {
        "subject": (
            (("countryName", "DE"),),
            (("organizationName", "acme, inc"),),
            (("commonName", " #profiler+"),),
        ),
        "subjectAltName": (("URI", "spiffe://acme/profiler"), ("DNS", "a.example")),
    }
    expected = Certificate(
        r"CN=\ #profiler\+,O=acme\, inc,C=DE", ("spiffe://acme/profiler", "a.example")
    )
    assert certificate(peer) == expected
    assert certificate({}) is certificate(None) is None


def test_the_python_client_reads_by_https_and_trusts_what_it_is_told_to(
    folder: Path, files: Files, sample: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(folder, files) as (served, port):
        token = (served.path.parent / "token").read_text().split()[-1]
        url = f"https://127.0.0.1:{port}"
        with Client(url, token=token) as peek, pytest.raises(Unreachable, match="certificate"):
            peek.info()
        monkeypatch.setenv("SSL_CERT_FILE", str(files.client_ca))
        with Client(url, token=token) as peek:
            assert peek.target(sample.pid).read(sample.address, 16) == sample.bytes(0, 16)
            with peek.stream() as stream:
                ticks = stream.subscribe(peek.target(sample.pid), [(sample.address, 8)], hz=100)
                assert next(iter(ticks)).data == sample.bytes(0, 8)
