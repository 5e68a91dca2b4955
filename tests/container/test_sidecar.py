"""The manifest of the sidecar, as it stands, beside a real app: deploy/k8s/sidecar.yaml."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from support import podman
from support.kubelet import Pod, pod_spec
from support.objects import TOKEN
from support.podman import Foreground
from support.targets import build
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.serving import Reply

SAID = b"hello from the pod"


@contextlib.contextmanager
def started(manifest: str) -> Iterator[Pod]:
    """Run a manifest's pod; farpeek is ready."""
    with Pod(pod_spec(manifest)) as pod:
        pod.await_ready()
        yield pod


def register_app(pod: Pod) -> dict[str, object]:
    """Register the app by what it is called; its target."""
    reply = pod.request("POST", "/v1/targets", {"match": {"comm": "python3"}})
    assert reply.status == 201, reply
    return dict(reply.json)


def read_app(pod: Pod, target: str, mode: str = "wait") -> Reply:
    """Read what the app says that it holds."""
    address = pod["app"].log.split()[-1]
    body = {"addresses": [address], "lengths": len(SAID), "encoding": "hex", "mode": mode}
    return pod.request("POST", f"/v1/targets/{target}/readv", body)


@pytest.fixture(
    scope="module", params=["sidecar.yaml", "sidecar-native.yaml", "sidecar-ptrace.yaml"]
)
def any_pod(request: pytest.FixtureRequest) -> Iterator[Pod]:
    with started(request.param) as made:
        yield made


@pytest.fixture(scope="module")
def pod() -> Iterator[Pod]:
    with started("sidecar.yaml") as made:
        yield made


def test_the_app_is_found_by_match_and_read_followed_through_exit_and_restart(any_pod: Pod) -> None:
    pod = any_pod
    target = register_app(pod)
    reply = read_app(pod, str(target["id"]))
    assert (reply.status, bytes.fromhex(reply.json["data"])) == (200, SAID), reply
    os.kill(pod["app"].pid, signal.SIGTERM)
    exited = pod.request("GET", f"/v1/targets/{target['id']}?wait=exit&timeout_s=20").json
    assert exited["state"] in ("exited", "reaped")
    until(
        lambda: pod.request("GET", f"/v1/targets/{target['id']}").json["state"] == "reaped",
        "the runtime has reaped it",
    )
    final = pod.request("GET", f"/v1/targets/{target['id']}").json
    assert final["exit"] == {"code": None, "signal": "SIGTERM", "core_dumped": False}
    gone = read_app(pod, str(target["id"]))
    assert (gone.status, gone.slug) == (410, "target-exited")
    podman.podman("start", pod["app"].name)
    until(lambda: pod["app"].log.count("0x") == 2, "the app is there again")
    again = register_app(pod)
    assert again["id"] != target["id"]
    reply = read_app(pod, str(again["id"]))
    assert (reply.status, bytes.fromhex(reply.json["data"])) == (200, SAID), reply


PROBES = ("readinessProbe", "livenessProbe")


def test_the_probes_succeed(any_pod: Pod) -> None:
    assert all(any_pod.probe("farpeek", kind) for kind in PROBES)


def test_the_probes_fail_while_it_hangs(pod: Pod) -> None:
    os.kill(pod["farpeek"].pid, signal.SIGSTOP)
    assert not any(pod.probe("farpeek", kind) for kind in PROBES)
    os.kill(pod["farpeek"].pid, signal.SIGCONT)
    assert all(pod.probe("farpeek", kind) for kind in PROBES)


def test_it_has_no_capability_no_way_to_one_and_nowhere_to_write(pod: Pod) -> None:
    service = pod["farpeek"]
    found = service.credentials()
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(found[name], 16) == 0, name
    assert found["NoNewPrivs"] == "1"
    assert found["Seccomp"] == "2"
    assert found["Uid"].split() == ["1000"] * 4
    assert found["Gid"].split() == ["1000"] * 4
    probe = "import os, sys; sys.exit(os.access(sys.argv[1], os.W_OK))"
    for place in ("/", "/tmp", "/opt/farpeek", "/run", "/etc/farpeek", "/var/tmp", "/dev"):  # noqa: S108 - nothing is written
        service.execute("/opt/farpeek/bin/python3", "-c", probe, place)


_HOLDS_16_MIB = """
import ctypes, time
text = ctypes.create_string_buffer(b"\\1" * (16 << 20))
print(hex(ctypes.addressof(text)), flush=True)
time.sleep(1e6)
"""


def test_it_lives_within_its_memory_limit_with_all_bytes_in_flight() -> None:
    spec = pod_spec("sidecar.yaml")
    spec["containers"][0]["command"][2] = _HOLDS_16_MIB
    with Pod(spec) as pod:
        pod.await_ready()
        assert pod["farpeek"].limit("memory", "memory.limit_in_bytes") == 256 << 20
        target = register_app(pod)
        address = pod["app"].log.split()[-1]
        body = {"addresses": [address], "lengths": 16 << 20, "encoding": "hex"}
        path = f"/v1/targets/{target['id']}/readv"

        def read(_: int) -> None:
            until(lambda: pod.request("POST", path, body).status == 200, "its bytes have room")

        # Four fit into what may be in flight at once.
        with ThreadPoolExecutor(12) as callers:
            list(callers.map(read, range(48)))
        state = pod["farpeek"].state
        assert (state["Running"], state["OOMKilled"]) == (True, False)


def test_what_it_says_it_can_do_is_what_the_table_promises(pod: Pod) -> None:
    found = pod.request("GET", "/v1/info").json["capabilities"]
    assert found["process_vm"]["provided"] == "native"
    assert found["nowait"]["technique"] in (
        "PAGEMAP_SCAN + verified path",
        "pagemap + verified path",
    )
    assert found["prefetch"]["provided"] == "unavailable"


def test_it_ends_within_the_grace_period_though_a_read_is_stuck_in_the_kernel() -> None:
    # Pages that nobody brings are for who has SYS_PTRACE; it becomes the app's user afterwards.
    flags = ["--user=0", "--cap-add=SYS_PTRACE", "--security-opt=seccomp=unconfined"]
    flags.append(f"--volume={build('uffd')}:/uffd:ro")
    with (
        Pod(pod_spec("sidecar.yaml"), only=("farpeek",)) as own,
        Foreground(podman.BASE, "/uffd", "4", "1000", flags=(*own.beside, *flags)) as target,
    ):
        own.await_ready()
        target.await_ready()
        reply = own.request("POST", "/v1/targets", {"match": {"comm": "uffd"}})
        assert reply.status == 201, reply
        body = {"addresses": [target["missing"]], "lengths": 8}
        path = f"/v1/targets/{reply.json['id']}/readv"
        answers: list[Reply | OSError] = []
        reader = threading.Thread(target=lambda: answers.append(attempt(own, path, body)))
        reader.start()
        target.send("faults 1")
        assert target.line() == "faults=0x1"
        own.stop("farpeek")
        state = own["farpeek"].state
        assert (state["Running"], state["ExitCode"], state["OOMKilled"]) == (False, 0, False)
        reader.join(60)
        assert len(answers) == 1


def attempt(pod: Pod, path: str, body: object) -> Reply | OSError:
    """Put a request that may be cut off."""
    try:
        return pod.request("POST", path, body)
    except (OSError, http.client.HTTPException) as error:
        return OSError(str(error))


_CLIENT = """
import http.client, socket, sys
sock = socket.socket(socket.AF_UNIX)
try:
    sock.connect("/run/farpeek/api/farpeek.sock")
except PermissionError:
    sys.exit("not let in by the socket's mode")
connection = http.client.HTTPConnection("localhost")
connection.sock = sock
headers = {"Authorization": "Bearer " + sys.argv[1]} if len(sys.argv) > 1 else {}
connection.request("GET", "/v1/targets", headers=headers)
print(connection.getresponse().status)
"""


def connect_from(pod: Pod, user: str, groups: tuple[str, ...] = (), token: str = "") -> str:
    """Ask the service from a third container that has the volume; a status, or why not."""
    flags = [f"--user={user}", "--cap-drop=ALL", "--rm", *pod.beside]
    flags += [f"--volume={pod.folder_of('socket')}:/run/farpeek", *groups]
    done = podman.podman(
        "run", *flags, podman.BASE, "python3", "-c", _CLIENT, *token.split(), status=None
    )
    return (done.stdout + done.stderr).strip()


@pytest.mark.parametrize(
    ("user", "groups", "token", "answer"),
    [
        # The kubelet makes every container of the pod a member of fsGroup.
        ("1000:1000", ("--group-add=2000",), "", "200"),
        ("3000:3000", ("--group-add=2000",), "", "401"),
        ("3000:3000", ("--group-add=2000",), TOKEN, "200"),
        ("3000:3000", ("--group-add=2000",), "guessed", "401"),
        ("3000:3000", (), TOKEN, "not let in by the socket's mode"),
        ("3000:1000", (), TOKEN, "not let in by the socket's mode"),
    ],
)
def test_the_socket_on_the_volume_lets_in_its_own_user_and_bearers_of_its_group(
    pod: Pod, user: str, groups: tuple[str, ...], token: str, answer: str
) -> None:
    assert connect_from(pod, user, groups, token) == answer


def test_without_a_socket_group_only_the_own_user_can_connect() -> None:
    spec = pod_spec("sidecar.yaml")
    described = spec["containers"][1]
    described["env"] = [each for each in described["env"] if each["name"] != "FARPEEK_SOCKET_GROUP"]
    with Pod(spec, only=("farpeek",)) as pod:
        pod.await_ready()
        group = ("--group-add=2000",)
        assert connect_from(pod, "1000:1000", group) == "200"
        assert connect_from(pod, "3000:3000", group, TOKEN) == "not let in by the socket's mode"


def test_a_socket_group_that_it_is_no_member_of_is_told_at_once() -> None:
    spec = pod_spec("sidecar.yaml")
    described = spec["containers"][1]
    for variable in described["env"]:
        if variable["name"] == "FARPEEK_SOCKET_GROUP":
            variable["value"] = "2001"
    with Pod(spec, only=("farpeek",)) as pod:
        until(lambda: not pod["farpeek"].state["Running"], "it has ended")
        assert pod["farpeek"].state["ExitCode"] == 2
        assert "supplementalGroups" in pod["farpeek"].log
