"""The DaemonSet of a fleet: the agent beside the service, with the network and no privilege."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import pytest

from farpeek_api.bus import permits
from support import podman
from support.broker import make_key
from support.folders import open_folder
from support.kubelet import Pod, pod_spec
from support.objects import objects
from support.pod_broker import BROKER, broker, user
from support.podman import Foreground, status_of
from support.targets import build
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NODE = "node-1-example"


@pytest.fixture(scope="module")
def keys() -> Iterator[Path]:
    with open_folder() as folder:
        yield folder


@pytest.fixture(scope="module")
def pod(keys: Path) -> Iterator[Pod]:
    users = [
        user(make_key(keys, "node"), permits.of_node(NODE, {"cluster": "example"})),
        user(make_key(keys, "profiler"), permits.of_client("profiler")),
    ]
    spec = pod_spec("daemonset-fleet.yaml")
    for container in spec["containers"]:
        for variable in container["env"]:
            if variable["name"] == "FARPEEK_NATS":
                variable["value"] = BROKER
    seed = {"node.nk": (keys / "node.nk").read_bytes()}
    with Pod(spec, present=objects(agent=seed)) as made:
        made.await_ready()
        with broker(made["agent"], keys, users):
            made["agent"].await_log(f"connected to {BROKER}")
            yield made


@pytest.fixture(scope="module")
def app() -> Iterator[Foreground]:
    """A process in another container, of another user."""
    flags = ("--user=4242:4242", "--cap-drop=ALL", f"--volume={build('plain')}:/plain:ro")
    with Foreground(podman.BASE, "/plain", "--name", "far-app", flags=flags) as container:
        container.await_ready()
        yield container


def asked(pod: Pod, keys: Path, *words: str) -> Any:  # noqa: ANN401 - JSON
    """Run a command that asks the node, where the broker is seen."""
    fleet = ("--nats", BROKER, "--client", "profiler", "--nkey", str(keys / "profiler.nk"))
    command = (sys.executable, "-m", "farpeek_api", *words, "--node", NODE, "--json", *fleet)
    done = pod.in_network("agent", *command)
    assert done.returncode == 0, done
    return json.loads(done.stdout)


def test_a_process_of_another_container_is_read_through_the_broker(
    pod: Pod, keys: Path, app: Foreground
) -> None:
    found = asked(pod, keys, "read", str(app.pid), app["marker"], "8")
    assert found["data"] == "AQAAAAAAAAA=", found


def test_what_was_done_names_the_client_and_the_agent(
    pod: Pod, keys: Path, app: Foreground
) -> None:
    asked(pod, keys, "read", str(app.pid), app["marker"], "8")

    def lines() -> list[dict[str, Any]]:
        text = pod["farpeek"].log.splitlines()
        return [json.loads(each) for each in text if each.startswith("{")]

    until(
        lambda: any(
            (each.get("verb"), each.get("client"), each.get("by")) == ("read", "profiler", "agent")
            for each in lines()
        ),
        "the audit has both",
    )


def test_the_agent_has_no_privilege_and_the_service_those_of_the_manifest(pod: Pod) -> None:
    agent, service = (status_of(pod[name].pid) for name in ("agent", "farpeek"))
    for name in ("CapEff", "CapPrm", "CapBnd", "CapAmb"):
        assert int(agent[name], 16) == 0
    assert agent["Uid"].split() == ["65532"] * 4
    assert agent["NoNewPrivs"] == service["NoNewPrivs"] == "1"
    assert agent["Seccomp"] == service["Seccomp"] == "2"
    assert int(service["CapEff"], 16) == 1 << 19 | 1 << 2  # SYS_PTRACE, DAC_READ_SEARCH


def test_the_service_listens_on_no_network(pod: Pod) -> None:
    for kind in ("readinessProbe", "livenessProbe"):
        assert pod.probe("farpeek", kind)
    assert not pod.in_network("farpeek", "ss", "-Hltn").stdout
