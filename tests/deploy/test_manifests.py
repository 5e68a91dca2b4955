"""The manifests keep their promises where no container is needed to see it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from farpeek_api.cli import gateway
from farpeek_api.policy import file

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
        elif document["kind"] in ("DaemonSet", "Deployment"):
            yield document["spec"]["template"]["spec"]


def containers(pod: dict[str, Any]) -> list[dict[str, Any]]:
    return [*pod.get("initContainers", []), *pod["containers"]]


@pytest.mark.parametrize("name", ["sidecar.yaml", "sidecar-native.yaml", "gateway.yaml"])
def test_what_has_no_capabilities_is_restricted(name: str) -> None:
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


def daemon() -> dict[str, Any]:
    """Return the DaemonSet's pod."""
    (pod,) = pods(TOP / "deploy" / "k8s" / "daemonset.yaml")
    return pod


def environment(pod: dict[str, Any]) -> dict[str, str]:
    (container,) = pod["containers"]
    return {each["name"]: each["value"] for each in container["env"]}


def test_the_daemonset_is_told_of_files_that_its_volumes_have() -> None:
    pod = daemon()
    (container,) = pod["containers"]
    mounts = {each["mountPath"]: each["name"] for each in container["volumeMounts"]}
    volumes = {each["name"]: each for each in pod["volumes"]}
    for variable, name in (
        ("FARPEEK_POLICY", "farpeek-policy"),
        ("FARPEEK_TLS_CERT", "farpeek-tls"),
        ("FARPEEK_TLS_KEY", "farpeek-tls"),
        ("FARPEEK_TLS_CLIENT_CA", "farpeek-tls"),
    ):
        volume = volumes[mounts[str(Path(environment(pod)[variable]).parent)]]
        source = volume.get("configMap") or volume["secret"]
        assert name in (source.get("name"), source.get("secretName"))
    assert volumes[mounts["/etc/farpeek/tls"]]["secret"]["defaultMode"] == 0o400


def test_the_policy_as_it_is_lets_no_token_in_and_is_one() -> None:
    (document,) = yaml.safe_load_all((TOP / "deploy" / "k8s" / "policy.yaml").read_text())
    name = Path(environment(daemon())["FARPEEK_POLICY"]).name
    text = document["data"][name]
    policy = file.parse(text, name)
    assert not policy.warnings
    assert set(re.findall(r'"([0-9a-f]{64})"', text)) == {"0" * 64}


def test_the_policy_of_fleets_lets_the_agents_user_ask_for_others() -> None:
    (document,) = yaml.safe_load_all((TOP / "deploy" / "k8s" / "policy-fleet.yaml").read_text())
    (pod,) = pods(TOP / "deploy" / "k8s" / "daemonset-fleet.yaml")
    (agent,) = (each for each in containers(pod) if each["name"] == "agent")
    text = document["data"]["policy.toml"]
    assert not file.parse(text, "policy.toml").warnings
    assert f"unix_uid = [{agent['securityContext']['runAsUser']}]" in text
    sources = [each["configMap"]["name"] for each in pod["volumes"] if "configMap" in each]
    assert sources == [document["metadata"]["name"]]


def test_the_agent_of_a_fleet_has_no_privilege_and_listens_nowhere() -> None:
    (pod,) = pods(TOP / "deploy" / "k8s" / "daemonset-fleet.yaml")
    (agent,) = (each for each in containers(pod) if each["name"] == "agent")
    context = {**pod["securityContext"], **agent["securityContext"]}
    assert context["runAsNonRoot"]
    assert context["runAsUser"] == context["runAsGroup"] == context["fsGroup"]
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert context["allowPrivilegeEscalation"] is False
    assert context["readOnlyRootFilesystem"]
    assert not [each for each in containers(pod) if "ports" in each]
    listen = {each["name"]: each.get("value") for each in pod["containers"][0]["env"]}
    assert str(listen["FARPEEK_LISTEN"]).startswith("unix:")


def test_the_gateway_of_a_fleet_is_told_of_files_that_its_volumes_have() -> None:
    (pod,) = pods(TOP / "deploy" / "k8s" / "gateway.yaml")
    (container,) = pod["containers"]
    told = [value for value in environment(pod).values() if value.startswith("/etc/farpeek/")]
    mounts = {each["mountPath"]: each["name"] for each in container["volumeMounts"]}
    assert {str(Path(each).parent) for each in told} | {container["args"][-1]} == mounts.keys()
    assert {each["name"] for each in pod["volumes"]} == set(mounts.values())
    # A name, and the file that is read for it, of each setting that the gateway has.
    (document,) = yaml.safe_load_all((TOP / "deploy" / "k8s" / "policy-gateway.yaml").read_text())
    name = Path(environment(pod)["FARPEEK_POLICY"]).name
    sources = [each["configMap"]["name"] for each in pod["volumes"] if "configMap" in each]
    assert sources == [document["metadata"]["name"]]
    policy = file.parse(document["data"][name], name)
    assert set(policy.clients) == {"profiler", "prometheus"}


def test_the_gateway_takes_the_settings_of_its_manifest_and_unit() -> None:
    (pod,) = pods(TOP / "deploy" / "k8s" / "gateway.yaml")
    (container,) = pod["containers"]
    unit = (TOP / "deploy" / "systemd" / "farpeek-gateway.service").read_text()
    named = set(re.findall(r"^Environment=(FARPEEK_\w+)=", unit, re.MULTILINE))
    known = set(vars(gateway.parser().parse_args(container["args"][1:])))
    for name in named | environment(pod).keys():
        setting = name.removeprefix("FARPEEK_").lower()
        assert setting in known | set(gateway.SERVING) | {"listen"}, name
    started = re.search(r"^ExecStart=\S+ gateway (.*)", unit, re.MULTILINE)
    assert started is not None
    gateway.parser().parse_args(started[1].split())


def test_the_certificate_of_the_docs_fits_the_manifest() -> None:
    text = (TOP / "docs" / "kubernetes.md").read_text()
    block = text.partition("<!-- certificate: begin -->\n```yaml\n")[2].partition("```")[0]
    certificate = yaml.safe_load(block)
    secrets = [each["secret"]["secretName"] for each in daemon()["volumes"] if "secret" in each]
    assert secrets == [certificate["spec"]["secretName"]]
    assert certificate["metadata"]["namespace"] == "farpeek"
    hosts = environment(daemon())["FARPEEK_ALLOW_HOST"].split(",")
    assert certificate["spec"]["dnsNames"] == hosts
