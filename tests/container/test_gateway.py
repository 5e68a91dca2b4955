"""The Deployment of a fleet's gateway: nodes by HTTPS, with a key of each client, unprivileged."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
import yaml

from farpeek_api.bus import permits
from farpeek_api.policy import tokens
from support.broker import make_key
from support.ending import end_process
from support.folders import open_folder
from support.kubelet import Pod, documents, pod_spec
from support.objects import CA, MANIFESTS, NAMES, NO_TOKEN, POD_ADDRESS, TOKEN
from support.pod_broker import BROKER, broker, user
from support.podman import status_of
from support.policies import Policed, entry
from support.waiting import until
from support.wire import parse

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.objects import Objects
    from support.serving import Reply

NODE = "n1"
HOST = "farpeek-gateway.farpeek-gateway.svc"
NODE_POLICY = (
    "[clients.agent]\nunix_uid = [0]\nverbs = ['inspect']\nimpersonate = ['profiler']\n"
    + entry("profiler", "of-no-use-here", ["inspect"])
)


@pytest.fixture(scope="module")
def keys() -> Iterator[Path]:
    with open_folder() as folder:
        yield folder


@pytest.fixture(scope="module")
def pod(keys: Path) -> Iterator[Pod]:
    users = [
        user(make_key(keys, NODE), permits.of_node(NODE, {})),
        user(make_key(keys, "profiler"), permits.of_client("profiler")),
    ]
    spec = pod_spec("gateway.yaml")
    for variable in spec["containers"][0]["env"]:
        if variable["name"] == "FARPEEK_NATS":
            variable["value"] = BROKER
    with Pod(spec, present=objects(keys)) as made:
        made.await_ready()
        with broker(made["farpeek"], keys, users), node(made, keys):
            yield made


def objects(keys: Path) -> Objects:
    """Return what gateway.yaml wants, with a token of the client that it has as an example."""
    policy = yaml.safe_load((MANIFESTS / "policy-gateway.yaml").read_text())["data"]
    made = CA.issue_cert(HOST, *NAMES)
    return {
        ("configMap", "farpeek-gateway-policy"): {
            name: text.replace(NO_TOKEN, tokens.digest(TOKEN)).encode()
            for name, text in policy.items()
        },
        ("secret", "farpeek-gateway-tls"): {
            "tls.crt": b"".join(blob.bytes() for blob in made.cert_chain_pems),
            "tls.key": made.private_key_pem.bytes(),
            "ca.crt": CA.cert_pem.bytes(),
        },
        ("secret", "farpeek-gateway-keys"): {
            "profiler.nk": (keys / "profiler.nk").read_bytes(),
        },
    }


@contextmanager
def node(pod: Pod, keys: Path) -> Iterator[None]:
    """Run a service of this host, and its agent where the broker is seen."""
    with open_folder() as folder, Policed(folder, NODE_POLICY) as service:
        words = ("--nats", BROKER, "--nkey", str(keys / f"{NODE}.nk"), "--node", NODE)
        command = [sys.executable, "-m", "farpeek_api", "agent", *words]
        log = folder / "agent.log"
        with log.open("w") as errors:
            process = subprocess.Popen(
                ["nsenter", "--net", "--target", str(pod["farpeek"].pid), "--", *command],
                stderr=errors,
                env={**os.environ, "FARPEEK_URL": f"unix:{service.path}"},
            )
        try:
            until(lambda: "connected to" in log.read_text(), "the agent serves")
            yield
        finally:
            end_process(process)


def asked(pod: Pod, path: str, *flags: str) -> Reply:
    """Ask by the name of the Service."""
    trusted = pod.folder / "trusted.pem"
    CA.cert_pem.write_to_path(str(trusted))
    where = ("--resolve", f"{HOST}:7335:{POD_ADDRESS}", "--cacert", str(trusted))
    command = ("curl", "--silent", "--include", *where, *flags, f"https://{HOST}:7335{path}")
    done = pod.in_network("farpeek", *command)
    assert done.returncode == 0, done
    return parse(done.stdout)


def with_token(pod: Pod, path: str, token: str = TOKEN) -> Reply:
    return asked(pod, path, "--header", f"Authorization: Bearer {token}")


def test_a_client_of_the_policy_asks_a_node(pod: Pod) -> None:
    listed = with_token(pod, "/v1/nodes").json["nodes"]
    assert [(each["node"], each["connected"]) for each in listed] == [(NODE, True)]
    assert with_token(pod, f"/v1/nodes/{NODE}/v1/info").json["api"] == "v1"
    assert with_token(pod, "/v1/nodes/n9/v1/info").slug == "unknown-node"
    assert "/v1/nodes" in with_token(pod, "/openapi.json").json["paths"]


def test_who_is_not_in_the_policy_asks_nobody(pod: Pod) -> None:
    assert with_token(pod, "/v1/nodes", "another").status == 401
    assert asked(pod, "/v1/nodes").status == 401


def test_its_numbers_are_for_whose_certificate_the_policy_has(pod: Pod, tmp_path: Path) -> None:
    made = CA.issue_cert("prometheus")
    path = tmp_path / "prometheus.pem"
    made.private_key_and_cert_chain_pem.write_to_path(str(path))
    assert b"farpeek_broker_connections" in asked(pod, "/metrics", "--cert", str(path)).body
    assert with_token(pod, "/metrics").status == 403


def test_the_probes_succeed_and_it_is_called_by_no_other_name(pod: Pod) -> None:
    for kind in ("readinessProbe", "livenessProbe"):
        assert pod.probe("farpeek", kind)
    assert asked(pod, "/v1/nodes", "--header", "Host: elsewhere.example").status == 403


def test_it_has_no_privilege(pod: Pod) -> None:
    gateway = status_of(pod["farpeek"].pid)
    for name in ("CapEff", "CapPrm", "CapBnd", "CapAmb"):
        assert int(gateway[name], 16) == 0
    assert gateway["Uid"].split() == gateway["Gid"].split() == ["65532"] * 4
    assert (gateway["NoNewPrivs"], gateway["Seccomp"]) == ("1", "2")


def test_service_and_policy_select_its_pods_and_port() -> None:
    of_kind = {each["kind"]: each["spec"] for each in documents("gateway.yaml") if "spec" in each}
    labels = of_kind["Deployment"]["template"]["metadata"]["labels"]
    assert of_kind["Deployment"]["selector"]["matchLabels"].items() <= labels.items()
    assert of_kind["Service"]["selector"].items() <= labels.items()
    assert of_kind["NetworkPolicy"]["podSelector"]["matchLabels"].items() <= labels.items()
    (port,) = of_kind["Deployment"]["template"]["spec"]["containers"][0]["ports"]
    assert [each["targetPort"] for each in of_kind["Service"]["ports"]] == [port["name"]]
    (ingress,) = of_kind["NetworkPolicy"]["ingress"]
    assert [each["port"] for each in ingress["ports"]] == [port["name"]]
