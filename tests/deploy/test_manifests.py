"""The manifests keep their promises where no container is needed to see it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator

TOP = Path(__file__).resolve().parents[2]
MANIFESTS = sorted((TOP / "deploy" / "k8s").glob("*.yaml"))
RESTRICTED_VOLUMES = {
    *("configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim"),
    *("projected", "secret"),
}


def pods(path: Path) -> Iterator[dict[str, Any]]:
    for document in yaml.safe_load_all(path.read_text()):
        if document["kind"] == "Pod":
            yield document["spec"]
        elif document["kind"] == "DaemonSet":
            yield document["spec"]["template"]["spec"]


def containers(pod: dict[str, Any]) -> list[dict[str, Any]]:
    return [*pod.get("initContainers", []), *pod["containers"]]


@pytest.mark.parametrize("name", ["sidecar.yaml", "sidecar-native.yaml"])
def test_a_sidecar_without_capabilities_is_restricted(name: str) -> None:
    """Kubernetes: Pod Security Standards, "restricted"."""
    (pod,) = pods(TOP / "deploy" / "k8s" / name)
    assert not {"hostPID", "hostIPC", "hostNetwork"} & set(pod)
    assert {kind for volume in pod["volumes"] for kind in volume} <= {"name", *RESTRICTED_VOLUMES}
    for container in containers(pod):
        context = {**pod["securityContext"], **container["securityContext"]}
        assert context["runAsNonRoot"]
        assert context["runAsUser"] != 0
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_every_container_of_farpeek_is_closed_probed_and_bounded(path: Path) -> None:
    for pod in pods(path):
        (container,) = (each for each in containers(pod) if each["name"] == "farpeek")
        context = container["securityContext"]
        assert context["readOnlyRootFilesystem"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"]["drop"] == ["ALL"]
        assert {"livenessProbe", "readinessProbe"} <= set(container)
        assert set(container["resources"]) == {"requests", "limits"}
        assert pod["automountServiceAccountToken"] is False
        # The service ends in five seconds.
        assert pod["terminationGracePeriodSeconds"] > 5


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_every_added_capability_has_its_reason_beside_it(path: Path) -> None:
    text = path.read_text()
    added = [
        name
        for pod in pods(path)
        for container in containers(pod)
        for name in container["securityContext"]["capabilities"].get("add", [])
    ]
    for name in added:
        assert re.search(rf"# .*\n\s*(- {name}\b|add: \[{name}\])", text), name
