"""The DaemonSet's context: the host's processes, other users', by HTTPS, as a policy says."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest
import trustme

from farpeek_api.policy import tokens
from support import podman
from support.audits import done_in
from support.kubelet import Pod, documents, pod_spec
from support.objects import CA, POD_ADDRESS, POD_NAME, TOKEN, certificate, policy
from support.podman import Foreground, status_of
from support.targets import build
from support.volumes import Volume
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.serving import Reply

CAPABILITIES = 1 << 19 | 1 << 2  # SYS_PTRACE, DAC_READ_SEARCH


@pytest.fixture(scope="module")
def daemon() -> Iterator[Pod]:
    with Pod(pod_spec("daemonset.yaml")) as pod:
        pod.await_ready()
        yield pod


@pytest.fixture(scope="module")
def app() -> Iterator[Foreground]:
    """A process in another container, of another user, in pid and other namespaces of its own."""
    flags = ("--user=4242:4242", "--cap-drop=ALL", f"--volume={build('plain')}:/plain:ro")
    with Foreground(podman.BASE, "/plain", "--name", "far-app", flags=flags) as container:
        container.await_ready()
        yield container


@pytest.fixture
def other() -> Iterator[Pod]:
    """One whose policy and certificate a test changes."""
    with Pod(pod_spec("daemonset.yaml")) as pod:
        pod.await_ready()
        yield pod


def as_bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def read(pod: Pod, target: str, address: str, mode: str = "wait", token: str = TOKEN) -> Reply:
    """Read the app's marker as whoever has this token."""
    body = {"addresses": [address], "lengths": 8, "encoding": "hex", "mode": mode}
    return pod.request_tcp("POST", f"/v1/targets/{target}/readv", body, as_bearer(token))


@pytest.mark.parametrize("mode", ["wait", "nowait"])
def test_a_process_of_another_container_and_user_is_read(
    daemon: Pod, app: Foreground, mode: str
) -> None:
    target = daemon.request("POST", "/v1/targets", {"match": {"comm": "far-app"}}).json
    assert (target["uid"], target["pid"]) == (4242, app.pid)
    assert target["ns_pids"] == [app.pid, 1]
    assert target["container"]
    reply = read(daemon, target["id"], app["marker"], mode)
    assert (reply.status, reply.json["data"]) == (200, "0100000000000000")


def test_a_client_sees_what_its_entry_names_and_does_what_it_grants(
    daemon: Pod, app: Foreground
) -> None:
    flags = (f"--volume={build('plain')}:/plain:ro", "--user=0:0")
    with Foreground(podman.BASE, "/plain", "--name", "roots-app", flags=flags) as of_root:
        of_root.await_ready()
        assert daemon.request("POST", "/v1/targets", {"pid": app.pid}).status in (200, 201)
        for pid in (of_root.pid, os.getpid()):
            assert daemon.request("POST", "/v1/targets", {"pid": pid}).slug == "no-such-process"
    seen = {each["uid"] for each in daemon.request("GET", "/v1/processes").json["processes"]}
    assert 0 not in seen
    assert 4242 in seen
    assert daemon.request("GET", "/metrics").slug == "forbidden"


def test_an_operator_comes_by_a_certificate_and_others_of_that_ca_are_nobody(
    daemon: Pod, tmp_path: Path
) -> None:
    for name, status in (("farpeek-operator", 200), ("somebody", 401)):
        made = CA.issue_cert(name)
        path = tmp_path / f"{name}.pem"
        made.private_key_and_cert_chain_pem.write_to_path(str(path))
        reply = daemon.request_tcp("GET", "/metrics", flags=("--cert", str(path)))
        assert reply.status == status, reply


def test_farpeeks_own_commands_take_a_secrets_token_and_the_ca(
    daemon: Pod, app: Foreground, tmp_path: Path
) -> None:
    files = {"token": f"{TOKEN}\n".encode(), "ca.crt": CA.cert_pem.bytes()}
    secret = Volume(tmp_path / "secret", files)
    hosts = tmp_path / "hosts"  # stands for the cluster's DNS
    hosts.write_text(f"{POD_ADDRESS} {POD_NAME}\n")
    flags = [f"--network=container:{daemon['farpeek'].name}", "--cap-drop=ALL", "--rm"]
    flags += [f"--volume={secret.folder}:/client:ro", f"--volume={hosts}:/etc/hosts:ro"]
    flags += [f"--env=FARPEEK_URL=https://{POD_NAME}:7335", "--env=SSL_CERT_FILE=/client/ca.crt"]
    flags += ["--env=FARPEEK_TOKEN_FILE=/client/token", "--env=FARPEEK_LISTEN="]
    command = ("read", str(app.pid), app["marker"], "8", "--json")
    done = podman.podman("run", *flags, podman.PLAIN, *command, status=None)
    assert done.returncode == 0, done
    assert json.loads(done.stdout)["data"] == "AQAAAAAAAAA=", done


def test_a_token_that_the_policy_does_not_have_is_refused(daemon: Pod) -> None:
    refused = daemon.request_tcp("GET", "/v1/targets", headers=as_bearer(tokens.make()))
    assert (refused.status, refused.slug) == (401, "unauthenticated")


def test_what_was_done_and_refused_is_in_the_log_without_tokens(
    daemon: Pod, app: Foreground
) -> None:
    target = daemon.request("POST", "/v1/targets", {"match": {"comm": "far-app"}}).json["id"]
    assert read(daemon, target, app["marker"]).status == 200
    unknown = tokens.make()
    assert read(daemon, target, app["marker"], token=unknown).status == 401

    def lines() -> list[tuple[object, ...]]:
        found = done_in(daemon["farpeek"].log)[-2:]
        return [(each["client"], each["verb"], each["bytes"], each["outcome"]) for each in found]

    wanted = [("profiler", "read", 8, "done"), (None, "read", 0, "unauthenticated")]
    until(lambda: lines() == wanted, f"the audit has both, not {lines()}")
    log = daemon["farpeek"].log
    for token in (TOKEN, unknown):
        assert token not in log
        assert tokens.digest(token) not in log


def test_a_policy_that_is_swapped_counts_without_a_restart(other: Pod, app: Foreground) -> None:
    pid = other["farpeek"].pid
    target = other.request("POST", "/v1/targets", {"match": {"comm": "far-app"}}).json["id"]
    assert read(other, target, app["marker"]).status == 200
    fresh = tokens.make()
    other.swap("policy", policy(fresh))
    until(
        lambda: other.request_tcp("GET", "/v1/targets", headers=as_bearer(fresh)).status == 200,
        "the new token gets in",
    )
    assert read(other, target, app["marker"]).status == 401
    assert read(other, target, app["marker"], token=fresh).status == 200
    other.swap("policy", {"policy.toml": b"[clients.profiler]\nverb = []\n"})
    until(lambda: "the policy stays as it was before" in other["farpeek"].log, "it is refused")
    assert read(other, target, app["marker"], token=fresh).status == 200
    assert other["farpeek"].pid == pid


def test_a_certificate_that_is_swapped_is_served_without_a_restart(other: Pod) -> None:
    pid, renewed = other["farpeek"].pid, trustme.CA()
    other.swap("tls", certificate(renewed))
    log = "the certificate is that of /etc/farpeek/tls/tls.crt now"
    until(lambda: log in other["farpeek"].log, "it is taken")
    with pytest.raises(AssertionError, match="returncode=60"):  # curl: it is not trusted
        other.request("GET", "/v1/targets")
    other.trust(renewed)
    assert other.request("GET", "/v1/targets").status == 200
    assert other.probe("farpeek", "readinessProbe")
    assert other["farpeek"].pid == pid


def test_it_has_the_named_capabilities_and_no_other_of_roots(daemon: Pod) -> None:
    found = status_of(daemon["farpeek"].pid)
    assert int(found["CapEff"], 16) == int(found["CapBnd"], 16) == CAPABILITIES
    assert found["NoNewPrivs"] == "1"
    assert found["Uid"].split() == ["0"] * 4


def test_the_probes_need_no_token_and_all_else_does(daemon: Pod) -> None:
    for kind in ("readinessProbe", "livenessProbe"):
        assert daemon.probe("farpeek", kind)
    refused = daemon.request_tcp("GET", "/v1/targets")
    assert (refused.status, refused.slug) == (401, "unauthenticated")


def test_it_is_called_by_its_address_and_by_the_services_name_only(daemon: Pod) -> None:
    (service,) = (each for each in documents("daemonset.yaml") if each["kind"] == "Service")
    name = "{name}.{namespace}.svc".format(**service["metadata"])
    for host, status in (
        (POD_ADDRESS, 200),
        (name, 200),
        (f"{name}.cluster.local", 200),
        (POD_NAME, 200),
        (f"{POD_NAME}.cluster.local", 200),
        ("evil.example", 403),
    ):
        headers = {"Host": f"{host}:7335", **as_bearer(TOKEN)}
        assert daemon.request_tcp("GET", "/v1/targets", headers=headers).status == status


def test_policy_and_service_select_the_daemons_pods_and_port() -> None:
    found = {each["kind"]: each for each in documents("daemonset.yaml")}
    labels = found["DaemonSet"]["spec"]["template"]["metadata"]["labels"]
    assert found["DaemonSet"]["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert found["Service"]["spec"]["selector"].items() <= labels.items()
    assert found["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"].items() <= labels.items()
    names = {
        each["name"]
        for container in pod_spec("daemonset.yaml")["containers"]
        for each in container["ports"]
    }
    assert {each["targetPort"] for each in found["Service"]["spec"]["ports"]} <= names
    for rule in found["NetworkPolicy"]["spec"]["ingress"]:
        assert {each["port"] for each in rule["ports"]} <= names
    namespaces = {
        found[kind]["metadata"]["namespace"] for kind in ("DaemonSet", "Service", "NetworkPolicy")
    }
    assert namespaces == {found["Namespace"]["metadata"]["name"]}


def test_it_runs_under_the_profile_of_deploy_and_mounts_nothing(daemon: Pod) -> None:
    assert status_of(daemon["farpeek"].pid)["Seccomp"] == "2"
    script = "import ctypes; l = ctypes.CDLL(None, use_errno=True); "
    script += "print(l.unshare(0), ctypes.get_errno())"
    said = daemon["farpeek"].execute("/opt/farpeek/bin/python3", "-c", script)
    assert said.split() == ["-1", "38"], "unshare(0) is let through by RuntimeDefault"
