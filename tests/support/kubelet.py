"""Runs a manifest's pod on podman as the kubelet would, field by field; an unknown field fails.

What podman cannot do (cgroups of a pod, networks, restarts) is left to the tests.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from support import podman
from support.ending import Ending
from support.folders import OURS
from support.objects import CA, MANIFESTS, POD_ADDRESS, POD_NAME, TOKEN, objects
from support.podman import Container
from support.serving import UnixConnection, ask
from support.volumes import Volume
from support.waiting import until
from support.wire import parse

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import trustme

    from support.objects import Objects
    from support.serving import Reply

PROFILES = MANIFESTS.with_name("seccomp")
"""Stands for a kubelet's own folder of profiles."""

_IMAGES = {
    "docker.io/library/python:3.11-slim-bookworm": podman.BASE,
    "farpeek:latest": podman.PLAIN,
    "farpeek:ptrace": podman.PTRACE,
    "farpeek:agent": podman.AGENT,
}

Spec = dict[str, Any]

NODE_NAME = "node-1.example"
"""Of the node that pods are on."""


def documents(name: str) -> list[Spec]:
    """Return what is in a manifest of deploy/k8s."""
    return list(yaml.safe_load_all((MANIFESTS / name).read_text()))


def pod_spec(name: str) -> Spec:
    """Return the pod that a manifest describes."""
    (found,) = (
        document["spec"] if document["kind"] == "Pod" else document["spec"]["template"]["spec"]
        for document in documents(name)
        if document["kind"] in ("Pod", "DaemonSet", "Deployment")
    )
    return found


class Pod(Ending):
    """A pod of a manifest, its containers by their names; ``only`` leaves the others out.

    ``present`` are the ConfigMaps and Secrets that there are.
    """

    def __init__(
        self, spec: Spec, only: tuple[str, ...] | None = None, present: Objects | None = None
    ) -> None:
        self.spec = spec
        self._present = present or objects()
        self._swapped: dict[str, Volume] = {}
        self.containers: dict[str, Container] = {}
        self._described: dict[str, Spec] = {}
        self._stack = ExitStack()
        self.folder = Path(tempfile.mkdtemp(prefix=f"{OURS}-"))
        self._stack.callback(shutil.rmtree, self.folder)
        try:
            self._trusted = self.folder / "ca.pem"
            self.trust(CA)
            self._volumes = {each["name"]: self._volume(each) for each in spec["volumes"]}
            self._shared = self._share()
            for described in self._in_order():
                if only is None or described["name"] in only:
                    self.start(described)
        except BaseException:
            self.end()
            raise

    def end(self) -> None:
        self._stack.close()

    def __getitem__(self, name: str) -> Container:
        return self.containers[name]

    @property
    def beside(self) -> tuple[str, ...]:
        """The flags of `podman run` for another container of the pod."""
        return self._shared

    def folder_of(self, volume: str) -> Path:
        """Return where a volume is, on this host."""
        return self._volumes[volume]

    @property
    def socket(self) -> Path:
        """The service's socket, as this host sees it."""
        return self._volumes["socket"] / "api" / "farpeek.sock"

    def start(self, described: Spec) -> Container:
        """Start one more container of the pod, and wait for its startup probe."""
        flags = [*self._shared, *self._flags(described)]
        command = described.get("command", [])
        if command:
            flags += ["--entrypoint", json.dumps(command)]
        image = _IMAGES[described["image"]]
        container = Container(image, *described.get("args", []), flags=tuple(flags))
        if self.spec.get("hostPID"):
            self._stack.enter_context(container)  # the others go with their pod
        self.containers[described["name"]] = container
        self._described[described["name"]] = described
        if "startupProbe" in described:
            until(lambda: self.probe(described["name"], "startupProbe"), "the startup probe")
        return container

    def probe(self, name: str, kind: str) -> bool:
        """Run a probe of a container as the kubelet does; whether it succeeds."""
        probe = self._described[name][kind]
        known = {"exec", "httpGet", "periodSeconds", "timeoutSeconds", "failureThreshold"}
        assert set(probe) <= known
        limit = str(probe["timeoutSeconds"])
        if "exec" in probe:
            command = ("exec", self[name].name, *probe["exec"]["command"])
            return podman.podman(*command, status=None).returncode == 0
        (port,) = (
            each["containerPort"]
            for each in self._described[name]["ports"]
            if each["name"] == probe["httpGet"]["port"]
        )
        get = probe["httpGet"]
        assert set(get) <= {"path", "port", "scheme"}
        url = f"{get.get('scheme', 'HTTP').lower()}://{POD_ADDRESS}:{port}{get['path']}"
        # Of the certificate the kubelet looks at nothing.
        curl = ["curl", "--silent", "--fail", "--insecure", "--max-time", limit, url]
        return self.in_network(name, *curl).returncode == 0

    def in_network(
        self, name: str, *command: str, **environment: str
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a program of this host in the network of a container."""
        return subprocess.run(
            ["nsenter", "--net", "--target", str(self[name].pid), "--", *command],
            check=False,
            capture_output=True,
            timeout=60,
            env={**os.environ, **environment},
        )

    def request(self, method: str, path: str, body: object = None) -> Reply:
        """Put a request to farpeek: as root by the socket on the volume, else by TCP and token."""
        if "socket" in self._volumes:
            return ask(UnixConnection(self.socket), method, path, body)
        return self.request_tcp(method, path, body, {"Authorization": f"Bearer {TOKEN}"})

    def request_tcp(
        self,
        method: str,
        path: str,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        flags: tuple[str, ...] = (),
    ) -> Reply:
        """Put a request from inside of the pod's network, to the pod's address.

        By HTTPS the service is called by the pod's name, and has to have a certificate of the CA
        that `trust` names. ``flags`` are those of curl.
        """
        sent = {"Content-Type": "application/json", **(headers or {})}
        done = self.in_network(
            "farpeek",
            *("curl", "--silent", "--include", "--request", method),
            *(part for name, value in sent.items() for part in ("--header", f"{name}: {value}")),
            *(() if body is None else ("--data", json.dumps(body))),
            *flags,
            *self._address(path),
        )
        assert done.returncode == 0, done
        return parse(done.stdout)

    def _address(self, path: str) -> tuple[str, ...]:
        environment = {each["name"]: _value(each) for each in self._described["farpeek"]["env"]}
        if "https://" not in environment["FARPEEK_LISTEN"]:
            return (f"http://{POD_ADDRESS}:7335{path}",)
        resolved = ("--resolve", f"{POD_NAME}:7335:{POD_ADDRESS}")
        return (*resolved, "--cacert", str(self._trusted), f"https://{POD_NAME}:7335{path}")

    def trust(self, ca: trustme.CA) -> None:
        """Trust this CA from now on, and no other."""
        ca.cert_pem.write_to_path(str(self._trusted))

    def swap(self, volume: str, files: Mapping[str, bytes]) -> None:
        """Have a ConfigMap or a Secret changed, and the volume follow, as it does after a while."""
        self._swapped[volume].swap(files)

    def await_ready(self) -> None:
        """Wait until farpeek's readiness probe succeeds; fails if it has ended."""
        assert self.gets_ready(), self["farpeek"].log

    def gets_ready(self) -> bool:
        """Wait until farpeek is ready, or has ended; whether it is ready."""
        process = Path(f"/proc/{self['farpeek'].pid}")
        if "ports" in self._described["farpeek"]:
            # The address that others would reach it at.
            address = ("ip", "address", "add", f"{POD_ADDRESS}/32", "dev", "lo")
            added = self.in_network("farpeek", *address)
            assert added.returncode == 0, added
        until(lambda: self._answers() or not process.exists(), "it is ready")
        return process.exists()

    def _answers(self) -> bool:
        try:
            return self.request("GET", "/readyz").status == 200
        except (OSError, AssertionError):  # nothing listens yet; by the socket, and by curl
            return False

    def stop(self, name: str) -> None:
        """End a container: SIGTERM, and SIGKILL once the grace period is over."""
        seconds = str(self.spec["terminationGracePeriodSeconds"])
        podman.podman("stop", "--time", seconds, self[name].name)

    def _in_order(self) -> Iterator[Spec]:
        known = {
            *("automountServiceAccountToken", "containers", "enableServiceLinks", "hostPID"),
            *("initContainers", "securityContext", "shareProcessNamespace", "tolerations"),
            *("terminationGracePeriodSeconds", "volumes"),
        }
        assert set(self.spec) <= known, set(self.spec) - known
        for described in self.spec.get("initContainers", []):
            assert described["restartPolicy"] == "Always"
            yield described
        yield from self.spec["containers"]

    def _share(self) -> tuple[str, ...]:
        if self.spec.get("hostPID"):
            return ("--pid", "host", "--network", "none")
        shared = "pid,net" if self.spec.get("shareProcessNamespace") else "net"
        return ("--pod", self._stack.enter_context(podman.pod(shared)))

    def _volume(self, volume: Spec) -> Path:
        """Make a volume's folder as the kubelet does: emptyDir is everybody's, others root's."""
        name = volume["name"]
        ((kind, source),) = (each for each in volume.items() if each[0] != "name")
        folder: Path = self.folder / name
        folder.mkdir()
        group = self.spec["securityContext"].get("fsGroup", 0)
        os.chown(folder, 0, group)
        folder.chmod(0o2777 if group else 0o777)
        if kind == "emptyDir":
            assert set(source) <= {"medium", "sizeLimit"}
            return folder
        if kind == "hostPath":
            assert source == {"path": source["path"], "type": "Directory"}
            folder.chmod(0o755)
            Volume(folder, self._present[kind, source["path"]])
            return folder
        called = source["secretName" if kind == "secret" else "name"]
        assert set(source) <= {"secretName", "name", "defaultMode"}
        mode = source.get("defaultMode", 0o644) | (0o440 if group else 0)
        self._swapped[name] = Volume(folder, self._present[kind, called], mode, group)
        return folder

    def _flags(self, described: Spec) -> Iterator[str]:
        known = {
            *("args", "command", "env", "image", "livenessProbe", "name", "ports"),
            *("readinessProbe", "resources", "restartPolicy", "securityContext", "startupProbe"),
            "volumeMounts",
        }
        assert set(described) <= known, set(described) - known
        for variable in described.get("env", []):
            yield f"--env={variable['name']}={_value(variable)}"
        limits = described["resources"]["limits"]
        assert set(limits) == {"memory"}
        yield f"--memory={limits['memory'].replace('Mi', 'm')}"
        for mount in described.get("volumeMounts", []):
            # By subPath an update would never arrive.
            assert set(mount) <= {"name", "mountPath", "readOnly"}
            mode = "ro" if mount.get("readOnly") else "rw"
            yield f"--volume={self._volumes[mount['name']]}:{mount['mountPath']}:{mode}"
        yield from self._security({**self.spec["securityContext"], **described["securityContext"]})

    @staticmethod
    def _security(context: Mapping[str, Any]) -> Iterator[str]:
        known = {
            *("allowPrivilegeEscalation", "capabilities", "fsGroup", "readOnlyRootFilesystem"),
            *("runAsGroup", "runAsNonRoot", "runAsUser", "seccompProfile"),
        }
        assert set(context) <= known, set(context) - known
        assert context["runAsUser"] or not context.get("runAsNonRoot")
        # Without runAsGroup it is the image's group for that user: 0 for an unknown one.
        group = f":{context['runAsGroup']}" if "runAsGroup" in context else ""
        yield f"--user={context['runAsUser']}{group}"
        if "fsGroup" in context:
            yield f"--group-add={context['fsGroup']}"
        for name in context["capabilities"]["drop"]:
            yield f"--cap-drop={name}"
        for name in context["capabilities"].get("add", []):
            yield f"--cap-add={name}"
        if not context["allowPrivilegeEscalation"]:
            yield "--security-opt=no-new-privileges"
        if context["readOnlyRootFilesystem"]:
            yield "--read-only"
            yield "--read-only-tmpfs=false"
        profile = context["seccompProfile"]
        if profile["type"] == "Localhost":
            # An absolute one stays as it is.
            yield f"--security-opt=seccomp={PROFILES / profile['localhostProfile']}"
        else:
            assert profile == {"type": "RuntimeDefault"}  # podman's own


def _value(variable: Spec) -> str:
    if "valueFrom" not in variable:
        return str(variable["value"])
    assert variable["valueFrom"] == {"fieldRef": {"fieldPath": "spec.nodeName"}}
    return NODE_NAME
