"""The DaemonSet's context: the host's processes, other users', by TCP with a token."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support import podman
from support.kubelet import POD_ADDRESS, TOKEN, Pod, documents, pod_spec
from support.podman import Foreground, status_of
from support.targets import build

if TYPE_CHECKING:
    from collections.abc import Iterator

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


@pytest.mark.parametrize("mode", ["wait", "nowait"])
def test_a_process_of_another_container_and_user_is_read(
    daemon: Pod, app: Foreground, mode: str
) -> None:
    target = daemon.request("POST", "/v1/targets", {"match": {"comm": "far-app"}}).json
    assert (target["uid"], target["pid"]) == (4242, app.pid)
    assert target["ns_pids"] == [app.pid, 1]
    assert target["container"]
    body = {"addresses": [app["marker"]], "lengths": 8, "encoding": "hex", "mode": mode}
    reply = daemon.request("POST", f"/v1/targets/{target['id']}/readv", body)
    assert (reply.status, reply.json["data"]) == (200, "0100000000000000")


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
        ("evil.example", 403),
    ):
        headers = {"Host": f"{host}:7335", "Authorization": f"Bearer {TOKEN}"}
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
