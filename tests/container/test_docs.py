"""What the docs tell to type does what they say.

For kubectl and openssl there are stand-ins; podman stands for docker.
"""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path

from support import podman
from support.kubelet import Pod, pod_spec
from support.objects import TOKEN
from support.podman import Container, Foreground
from support.serving import UnixConnection, ask
from support.targets import build

TOP = Path(__file__).resolve().parents[2]
DOCS = TOP / "docs" / "kubernetes.md"
README = TOP / "deploy" / "README.md"

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
        done = pod.in_network(
            "farpeek", "bash", "-euc", script, **{**podman.environment(), "PATH": path}
        )
    assert done.returncode == 0, done
    assert json.loads(done.stdout)["data"] == "aGVsbG8gZnJvbSB0aGUgcG9k", done
    assert '"data":"aGVsbG8gZnJvbSB0aGUgcG9k"' in DOCS.read_text()


def test_the_command_for_docker_reads_the_container_that_it_names() -> None:
    blocks = README.read_text().split("```\n")
    (block,) = (each for each in blocks if each.startswith("docker run"))
    command = shlex.split(block.replace("\\\n", ""))
    assert command[:5] == ["docker", "run", "-d", "--name", "farpeek"]
    assert command[-1] == "farpeek"
    app = ("--user=1000:1000", f"--volume={build('plain')}:/plain:ro")
    with Foreground(podman.BASE, "/plain", "--name", "far-app", flags=app) as target:
        target.await_ready()
        flags = [
            each.replace("container:APP", f"container:{target.name}") for each in command[5:-1]
        ]
        assert "podman run` takes the same and `--read-only-tmpfs=false`" in README.read_text()
        flags.append("--read-only-tmpfs=false")
        with Container(podman.PLAIN, flags=tuple(flags)) as service:
            service.await_log("farpeek is listening")
            # Its tmpfs can be reached from here, by root.
            socket = Path(f"/proc/{service.pid}/root/run/farpeek/farpeek.sock")
            seen = ask(UnixConnection(socket), "GET", "/v1/processes?uid=1000").json["processes"]
            assert len(seen) == 2, "farpeek is there too"
            body = {"match": {"comm": "far-app"}}
            registered = ask(UnixConnection(socket), "POST", "/v1/targets", body)
            assert registered.status == 201, registered
            body = {"addresses": [target["marker"]], "lengths": 8, "encoding": "hex"}
            path = f"/v1/targets/{registered.json['id']}/readv"
            reply = ask(UnixConnection(socket), "POST", path, body)
            assert (reply.status, reply.json["data"]) == (200, "0100000000000000")
