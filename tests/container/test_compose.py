"""deploy/compose.yaml, brought up by podman-compose."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from support import podman
from support.audits import done_in
from support.serving import UnixConnection, ask
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

COMPOSE = Path(__file__).resolve().parents[2] / "deploy" / "compose.yaml"


def compose(file: Path, *arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "podman_compose", "--file", str(file), *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
        cwd=file.parent,
        env=podman.environment(),
    )
    assert done.returncode == 0, done


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    name = podman.new_name()
    document: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())
    app, service = document["services"]["app"], document["services"]["farpeek"]
    app["image"], service["image"] = podman.BASE, podman.PLAIN
    # podman-compose does not know `service:`, and there is nobody to talk to.
    assert service["pid"] == "service:app"
    app["container_name"] = f"{name}_app"
    service["pid"] = f"container:{name}_app"
    app["network_mode"] = "none"
    file = tmp_path_factory.mktemp(name) / "compose.yaml"
    # It names the profiles as they lie beside it.
    shutil.copytree(COMPOSE.with_name("seccomp"), file.with_name("seccomp"))
    file.write_text(yaml.safe_dump(document, sort_keys=False))
    try:
        compose(file, "--project-name", name, "up", "--detach")
        yield name
    finally:
        compose(file, "--project-name", name, "down", "--volumes", "--timeout", "0")


def test_the_app_is_read_by_who_mounts_the_volume(project: str) -> None:
    volume = podman.inspect("volume", f"{project}_socket")["Mountpoint"]
    path = Path(volume) / "farpeek.sock"
    until(path.exists, "it listens")
    said = podman.podman("logs", f"{project}_app").stdout.split()
    registered = ask(UnixConnection(path), "POST", "/v1/targets", {"match": {"comm": "python3"}})
    assert registered.status == 201, registered
    body = {"addresses": said, "lengths": 18, "encoding": "hex"}
    url = f"/v1/targets/{registered.json['id']}/readv"
    assert bytes.fromhex(ask(UnixConnection(path), "POST", url, body).json["data"]) == (
        b"hello from compose"
    )
    name = f"{project}_farpeek_1"

    def audited() -> list[tuple[object, ...]]:
        lines = done_in(podman.podman("logs", name).stderr)
        return [(each["verb"], each["bytes"]) for each in lines]

    until(lambda: ("read", 18) in audited(), "the read has left a line")


def test_it_has_no_capability_and_is_healthy(project: str) -> None:
    name = f"{project}_farpeek_1"
    found = podman.status_of(int(podman.inspect("container", name)["State"]["Pid"]))
    assert int(found["CapEff"], 16) == int(found["CapBnd"], 16) == 0
    assert found["NoNewPrivs"] == "1"
    assert found["Seccomp"] == "2"
    script = "import ctypes; l = ctypes.CDLL(None, use_errno=True); "
    script += "print(l.unshare(0), ctypes.get_errno())"
    said = podman.podman("exec", name, "/opt/farpeek/bin/python3", "-c", script).stdout
    assert said.split() == ["-1", "38"], "podman's own profile lets unshare(0) through"
    podman.podman("healthcheck", "run", name)
    configured = podman.inspect("container", name)["HostConfig"]
    assert configured["ReadonlyRootfs"]
    assert configured["Memory"] == 256 << 20
    assert configured["PidsLimit"] == 512
