"""Files that change are taken without a signal where that is asked for, and bad ones never."""

from __future__ import annotations

import http.client
import os
import ssl
from typing import TYPE_CHECKING

import pytest
import trustme

from farpeek_api.policy import tokens
from farpeek_api.policy.file import PolicyError
from farpeek_api.serving.reloading import Reloadable
from farpeek_api.serving.settings import load
from support.policies import As, entry
from support.volumes import Volume
from support.waiting import until
from support.wire import Served

if TYPE_CHECKING:
    from pathlib import Path

OFTEN = ("--reload-interval", "0.1")
ONE, TWO = tokens.make(), tokens.make()


def policy(text: str) -> dict[str, bytes]:
    return {"policy.toml": text.encode()}


def test_a_volume_that_is_swapped_brings_another_policy(folder: Path, tmp_path: Path) -> None:
    volume = Volume(tmp_path / "policy", policy(entry("one", ONE)))
    with Served(folder, "--policy", str(volume / "policy.toml"), *OFTEN) as service:
        one, two = As(service, ONE), As(service, TWO)
        assert one.request("GET", "/v1/targets").status == 200
        assert two.request("GET", "/v1/targets").status == 401
        volume.swap(policy(entry("two", TWO)))
        until(lambda: two.request("GET", "/v1/targets").status == 200, "the new policy counts")
        assert one.request("GET", "/v1/targets").status == 401


def test_a_bad_policy_is_told_of_once_and_the_one_before_stays(
    folder: Path, tmp_path: Path
) -> None:
    volume = Volume(tmp_path / "policy", policy(entry("one", ONE)))
    with Served(folder, "--policy", str(volume / "policy.toml"), *OFTEN) as service:
        volume.swap(policy(entry("one", ONE).replace("verbs", "verb")))
        until(lambda: "the policy stays as it was before" in service.log, "it is refused")
        assert ":3:1: clients.one.verb: there is no such member" in service.log
        assert As(service, ONE).request("GET", "/v1/targets").status == 200
        assert refused_files(As(service, ONE)) == "1.0"
        volume.swap(policy(entry("two", TWO)))
        until(lambda: "the policy is that of" in service.log, "the next one is taken")
        assert refused_files(As(service, TWO)) == "0.0"
        assert service.log.count("the policy stays as it was before") == 1


def refused_files(client: As) -> str:
    """Return what the metrics say of the policy's."""
    text = client.request("GET", "/metrics").body.decode()
    name = 'farpeek_files_refused{what="policy"} '
    return next(line.removeprefix(name) for line in text.splitlines() if line.startswith(name))


def certificate(ca: trustme.CA) -> dict[str, bytes]:
    """Return the files of a Secret as cert-manager makes it."""
    made = ca.issue_cert("127.0.0.1")
    return {
        "tls.crt": b"".join(blob.bytes() for blob in made.cert_chain_pems),
        "tls.key": made.private_key_pem.bytes(),
        "ca.crt": ca.cert_pem.bytes(),
    }


def is_served(port: int, ca: trustme.CA) -> bool:
    """Whether the service shows a certificate of that CA."""
    trust = ssl.create_default_context()
    ca.configure_trust(trust)
    connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=60, context=trust)
    try:
        connection.request("GET", "/livez")
        return connection.getresponse().status == 200
    except (ssl.SSLError, ConnectionError):
        return False
    finally:
        connection.close()


def https_port(service: Served) -> int:
    return int(service.log.rpartition("https://127.0.0.1:")[2].split()[0])


def test_a_secret_that_is_swapped_brings_another_certificate(folder: Path, tmp_path: Path) -> None:
    before, after = trustme.CA(), trustme.CA()
    volume = Volume(tmp_path / "tls", certificate(before), mode=0o400)
    flags = ("--tls-cert", str(volume / "tls.crt"), "--tls-key", str(volume / "tls.key"))
    with Served(folder, "--listen", "https://127.0.0.1:0", *flags, *OFTEN) as service:
        port = https_port(service)
        assert is_served(port, before)
        volume.swap(certificate(after))
        until(lambda: is_served(port, after), "the new certificate is served")
        assert not is_served(port, before)


def test_a_key_that_was_refused_is_taken_once_its_mode_is_right(
    folder: Path, tmp_path: Path
) -> None:
    before, after = trustme.CA(), trustme.CA()
    paths = {name: tmp_path / name for name in certificate(before)}

    def write(ca: trustme.CA, mode: int) -> None:
        for name, content in certificate(ca).items():
            paths[name].write_bytes(content)
        paths["tls.key"].chmod(mode)

    write(before, 0o600)
    flags = ("--tls-cert", str(paths["tls.crt"]), "--tls-key", str(paths["tls.key"]))
    with Served(folder, "--listen", "https://127.0.0.1:0", *flags, *OFTEN) as service:
        port = https_port(service)
        write(after, 0o644)
        until(lambda: "the certificate stays as it was before" in service.log, "it is refused")
        assert is_served(port, before)
        paths["tls.key"].chmod(0o600)
        until(lambda: is_served(port, after), "the new certificate is served")


async def take() -> None:
    """Take what is there."""


async def refuse() -> None:
    """Find out that it is none."""
    raise PolicyError(["it is none"])


async def test_what_is_still_being_written_is_left_for_the_next_look(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text("1")
    part = Reloadable("policy", [path])
    assert not part.look()
    path.write_text("two")
    assert not part.look(), "it has just changed"
    path.write_text("three")
    assert not part.look(), "and again"
    assert part.look()
    await part.renew(take)
    assert not part.look()


def test_a_file_with_the_size_and_the_time_of_the_one_before_is_another(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text("1")
    before = path.stat()
    part = Reloadable("policy", [path])
    path.write_text("2")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    part.look()
    assert part.look()


async def test_what_was_refused_is_tried_again_at_each_look(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "policy.toml"
    path.write_text("1")
    part = Reloadable("policy", [path])
    path.unlink()
    part.look()
    for _ in range(3):
        assert part.look()
        await part.renew(refuse)
    assert [each.message for each in caplog.records] == [
        "it is none",
        "the policy stays as it was before",
    ]
    part.forget_complaint()
    await part.renew(refuse)
    assert len(caplog.records) == 4, "on SIGHUP it is told again"
    await part.renew(take)
    assert not part.look()


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--reload-interval", "5"], "looks at the files of --policy and of https"),
        (["--reload-interval", "0", "--policy", "x"], "--reload-interval: "),
        (["--reload-interval", "nan", "--policy", "x"], "--reload-interval: "),
        (["--reload-interval", "86401", "--policy", "x"], "--reload-interval: "),
    ],
)
def test_an_interval_that_makes_no_sense_is_refused(
    capsys: pytest.CaptureFixture[str], arguments: list[str], word: str
) -> None:
    with pytest.raises(SystemExit):
        load(arguments)
    assert word in capsys.readouterr().err
