"""ConfigMaps and Secrets that the manifests of deploy/k8s want, made as the docs have them made."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import trustme
import yaml

from farpeek_api.policy import tokens

if TYPE_CHECKING:
    from collections.abc import Mapping

    Objects = Mapping[tuple[str, str], Mapping[str, bytes]]
    """Files by the kind of volume and the object's name."""

MANIFESTS = Path(__file__).resolve().parents[2] / "deploy" / "k8s"
TOKEN = "the-token-of-the-container-tests"  # noqa: S105 - of no other service
SERVICE = "farpeek.farpeek.svc"
NAMES = tuple(f"{label}{SERVICE}{zone}" for zone in ("", ".cluster.local") for label in ("", "*."))
POD_ADDRESS = "10.88.0.7"
"""Of pods with a network of their own here: an address of their loopback device."""
POD_NAME = f"{POD_ADDRESS.replace('.', '-')}.{SERVICE}"
"""What the cluster's DNS calls a pod of a headless Service."""
CA = trustme.CA()
NO_TOKEN = "0" * 64
"""In policy.yaml: the hash of no token."""


def objects(**others: Mapping[str, bytes]) -> Objects:
    """Return all of them; ``others`` has other files for policy, tls or agent."""
    return {
        ("secret", "farpeek-token"): {"token": f"{TOKEN}\n".encode()},
        ("secret", "farpeek-tls"): others.get("tls") or certificate(),
        ("configMap", "farpeek-policy"): others.get("policy") or policy(),
        ("configMap", "farpeek-fleet-policy"): fleet_policy(),
        ("hostPath", "/etc/farpeek/agent"): others.get("agent") or {},
    }


def fleet_policy() -> dict[str, bytes]:
    """Return the files of policy-fleet.yaml."""
    document = yaml.safe_load((MANIFESTS / "policy-fleet.yaml").read_text())
    return {name: text.encode() for name, text in document["data"].items()}


def certificate(ca: trustme.CA = CA) -> dict[str, bytes]:
    """Return the files of a Secret as cert-manager makes it of such a CA."""
    made = ca.issue_cert(*NAMES)
    return {
        "tls.crt": b"".join(blob.bytes() for blob in made.cert_chain_pems),
        "tls.key": made.private_key_pem.bytes(),
        "ca.crt": CA.cert_pem.bytes(),
    }


def policy(token: str = TOKEN) -> dict[str, bytes]:
    """Return the files of policy.yaml, with the hash of a token."""
    document = yaml.safe_load((MANIFESTS / "policy.yaml").read_text())
    files: dict[str, str] = document["data"]
    assert any(NO_TOKEN in text for text in files.values())
    return {
        name: text.replace(NO_TOKEN, tokens.digest(token)).encode() for name, text in files.items()
    }
