"""The two images of deploy/Dockerfile: small, nobody's, and in need of nothing but themselves."""

from __future__ import annotations

import os
import signal
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support import podman
from support.folders import open_folder
from support.podman import BASE, PLAIN, PTRACE, Container, Foreground
from support.serving import UnixConnection, ask
from support.targets import build

if TYPE_CHECKING:
    from collections.abc import Iterator

LIMIT = 120 << 20

images = pytest.mark.parametrize("image", [PLAIN, PTRACE])


@pytest.fixture(scope="module")
def container() -> Iterator[Container]:
    """Run it as strictly as there is, without a shell: a mount hides that."""
    flags = (
        *("--read-only", "--read-only-tmpfs=false", "--tmpfs=/run/farpeek", "--cap-drop=ALL"),
        *("--security-opt=no-new-privileges", "--volume=/dev/null:/bin/sh:ro"),
    )
    with Container(PLAIN, flags=flags) as made:
        made.await_log("farpeek is listening on unix:/run/farpeek/farpeek.sock")
        yield made


@images
def test_it_adds_little_to_its_base(image: str) -> None:
    added = podman.inspect("image", image)["Size"] - podman.inspect("image", BASE)["Size"]
    assert 0 < added < LIMIT


@images
def test_it_is_run_by_nobody_and_says_what_it_is(image: str) -> None:
    config = podman.inspect("image", image)["Config"]
    assert config["User"] == "65532:65532"
    assert config["Entrypoint"] == ["/opt/farpeek/bin/farpeek"]
    assert config["Cmd"] == ["serve"]
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    labels = config["Labels"]
    assert labels["org.opencontainers.image.version"] == project["version"]
    assert labels["org.opencontainers.image.licenses"] == project["license"]
    for name in ("title", "description", "revision", "base.name"):
        assert labels[f"org.opencontainers.image.{name}"]


@images
def test_only_the_interpreter_of_the_one_carries_a_capability(image: str) -> None:
    flags = ("--rm", "--network=none", "--user=0", "--cap-add=SYS_PTRACE", "--entrypoint=getcap")
    found = podman.podman("run", *flags, image, "-r", "/opt").stdout
    wanted = "/opt/farpeek/bin/python3 cap_sys_ptrace=ep\n" if image == PTRACE else ""
    assert found == wanted


def test_it_runs_without_a_shell_or_anywhere_to_write(container: Container) -> None:
    assert container.execute("sh", status=None) != ""
    found = container.credentials()
    assert found["Uid"].split() == ["65532"] * 4
    assert int(found["CapBnd"], 16) == 0
    assert found["NoNewPrivs"] == "1"


def test_its_health_check_follows_the_service(container: Container) -> None:
    podman.podman("healthcheck", "run", container.name)
    os.kill(container.pid, signal.SIGSTOP)
    podman.podman("healthcheck", "run", container.name, status=1)
    os.kill(container.pid, signal.SIGCONT)
    podman.podman("healthcheck", "run", container.name)


def test_it_serves_with_a_single_thread_where_no_more_processes_may_be() -> None:
    app = ("--user=1000:1000", f"--volume={build('plain')}:/plain:ro")
    with open_folder() as folder, Foreground(BASE, "/plain", flags=app) as target:
        target.await_ready()
        folder.chmod(0o1777)
        flags = (
            *("--pids-limit=2", "--user=1000:1000", f"--volume={folder}:/run/farpeek"),
            f"--pid=container:{target.name}",
        )
        with Container(PLAIN, flags=flags) as container:
            container.await_log("farpeek is listening")
            assert container.limit("pids", "pids.max") == 2
            own = UnixConnection(folder / "farpeek.sock")
            wanted = {"pid": 1, "pid_namespace": "service"}
            found = ask(own, "POST", "/v1/targets", wanted)
            assert found.status == 201, found
            body = {"addresses": [target["marker"]], "lengths": 8}
            reply = ask(own, "POST", f"/v1/targets/{found.json['id']}/readv", body)
            assert (reply.status, reply.json["complete"]) == (200, True), reply


def test_sigterm_ends_it_with_status_0(container: Container) -> None:
    podman.podman("stop", "--time", "10", container.name)
    assert container.state["ExitCode"] == 0
