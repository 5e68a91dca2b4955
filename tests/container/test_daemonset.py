"""The DaemonSet's context: the host's processes, other users', by TCP with a token."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from support import podman
from support.kubelet import POD_ADDRESS, TOKEN, Pod, documents, pod_spec
from support.podman import Foreground, status_of
from support.targets import build
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

CAPABILITIES = 1 << 19 | 1 << 2  # SYS_PTRACE, DAC_READ_SEARCH


@pytest.fixture(scope="module")
def daemon() -> Iterator[Pod]:
    with Pod(pod_spec("daemonset.yaml")) as pod:
        pod.add_address("farpeek")
        until(lambda: pod.probe("farpeek", "readinessProbe"), "it is ready")
        yield pod


@pytest.fixture(scope="module")
def app() -> Iterator[Foreground]:
    """A process in another container, of another user, in pid and other namespaces of its own."""
    flags = ("--user=4242:4242", "--cap-drop=ALL", f"--volume={build('plain')}:/plain:ro")
    with Foreground(podman.BASE, "/plain", "--name", "far-app", flags=flags) as container:
        container.await_ready()
        yield container


def curl(pod: Pod, path: str, *arguments: str, host: str = POD_ADDRESS) -> tuple[int, Any]:
    """Put a request by TCP from inside of the pod's network; status and answer."""
    done = pod.in_network(
        "farpeek",
        *("curl", "--silent", "--write-out", "\n%{http_code}", "--header", f"Host: {host}:7335"),
        *(*arguments, f"http://{POD_ADDRESS}:7335{path}"),
    )
    body, _, status = done.stdout.rpartition("\n")
    return int(status), json.loads(body)


BEARER = ("--header", f"Authorization: Bearer {TOKEN}")
AS_JSON = ("--header", "Content-Type: application/json", "--data")


@pytest.mark.parametrize("mode", ["wait", "nowait"])
def test_a_process_of_another_container_and_user_is_read(
    daemon: Pod, app: Foreground, mode: str
) -> None:
    body = json.dumps({"match": {"comm": "far-app"}})
    status, target = curl(daemon, "/v1/targets", *BEARER, *AS_JSON, body)
    assert status in (200, 201), target
    assert (target["uid"], target["pid"]) == (4242, app.pid)
    assert target["ns_pids"] == [app.pid, 1]
    assert target["container"]
    body = json.dumps({"addresses": [app["marker"]], "lengths": 8, "encoding": "hex", "mode": mode})
    status, answer = curl(daemon, f"/v1/targets/{target['id']}/readv", *BEARER, *AS_JSON, body)
    assert (status, answer["data"]) == (200, "0100000000000000")


def test_it_has_the_named_capabilities_and_no_other_of_roots(daemon: Pod) -> None:
    found = status_of(daemon["farpeek"].pid)
    assert int(found["CapEff"], 16) == int(found["CapBnd"], 16) == CAPABILITIES
    assert found["NoNewPrivs"] == "1"
    assert found["Uid"].split() == ["0"] * 4


def test_the_probes_need_no_token_and_all_else_does(daemon: Pod) -> None:
    for kind in ("readinessProbe", "livenessProbe"):
        assert daemon.probe("farpeek", kind)
    status, problem = curl(daemon, "/v1/targets")
    assert (status, problem["type"]) == (401, "urn:farpeek:problem:unauthenticated")


def test_it_is_called_by_its_address_and_by_the_services_name_only(daemon: Pod) -> None:
    (service,) = (each for each in documents("daemonset.yaml") if each["kind"] == "Service")
    name = "{name}.{namespace}.svc".format(**service["metadata"])
    for host in (POD_ADDRESS, name, f"{name}.cluster.local"):
        assert curl(daemon, "/v1/targets", *BEARER, host=host)[0] == 200
    assert curl(daemon, "/v1/targets", *BEARER, host="evil.example")[0] == 403


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
