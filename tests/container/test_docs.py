"""The first read of docs/kubernetes.md, as it stands there; kubectl and openssl have stand-ins."""

from __future__ import annotations

import json
import os
from pathlib import Path

from support.kubelet import TOKEN, Pod, pod_spec
from support.podman import environment

DOCS = Path(__file__).resolve().parents[2] / "docs" / "kubernetes.md"

_KUBECTL = """#!/bin/sh
case "$1 $2 $3" in
  'logs example -c') exec podman --log-level fatal logs {app} ;;
  'create secret generic' | 'apply -f deploy/k8s/sidecar.yaml') ;;
  wait* | 'port-forward pod/example 7335') ;;
  *) exit 64 ;;
esac
"""


def commands() -> str:
    block = DOCS.read_text().partition("<!-- first read: begin -->\n")[2]
    return block.partition("```\n")[2].partition("```")[0].replace("sleep 2", "wait")


def test_five_commands_lead_from_zero_to_a_first_read(tmp_path: Path) -> None:
    script = commands()
    assert len(script.splitlines()) == 5
    with Pod(pod_spec("sidecar.yaml")) as pod:
        pod.await_ready()
        programs = {
            "kubectl": _KUBECTL.format(app=pod["app"].name),
            "openssl": f"#!/bin/sh\necho {TOKEN}\n",
        }
        for name, text in programs.items():
            (tmp_path / name).write_text(text)
            (tmp_path / name).chmod(0o755)
        path = f"{tmp_path}:{os.environ['PATH']}"
        done = pod.in_network("farpeek", "bash", "-euc", script, **{**environment(), "PATH": path})
    assert done.returncode == 0, done
    assert json.loads(done.stdout)["data"] == "aGVsbG8gZnJvbSB0aGUgcG9k", done
    assert '"data":"aGVsbG8gZnJvbSB0aGUgcG9k"' in DOCS.read_text()
