"""deploy/seccomp: all that the service does goes on under it, and what it never does is refused."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from support import confined
from support.serving import Service
from support.targets import start

TOP = Path(__file__).resolve().parents[3]
PROFILE = TOP / "deploy" / "seccomp" / "farpeek.json"
WITH_WRITES = PROFILE.with_name("farpeek-writes.json")
UNITS = TOP / "deploy" / "systemd"

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="reads another user's process")


def under(profile: Path) -> list[str]:
    return [sys.executable, confined.__file__, str(profile)]


def allowed(profile: Path) -> set[str]:
    rules = json.loads(profile.read_text())["syscalls"]
    return {name for rule in rules if rule["action"] == "SCMP_ACT_ALLOW" for name in rule["names"]}


def named_in(unit: str) -> set[str]:
    lines = re.findall(r"^SystemCallFilter=(.*)$", (UNITS / unit).read_text(), re.MULTILINE)
    return {name for line in lines for name in line.split()}


def test_reads_of_all_kinds_go_on_and_nothing_is_written(folder: Path) -> None:
    with (
        start("plain", "--uid", 4242, "--gid", 4242, "--marker", 7) as target,
        Service(folder, "--allow-writes", under=under(PROFILE)) as service,
    ):
        assert "Seccomp:\t2" in Path(f"/proc/{service.process.pid}/status").read_text()
        made = service.register(target.pid)
        for mode in ("wait", "nowait"):
            reply = service.read(made, target["marker"], 8, mode=mode, prefetch=mode == "nowait")
            assert reply.json["complete"] is True
        assert service.request("GET", f"/v1/targets/{made}/maps?residency=true").status == 200
        found = service.request("GET", "/v1/info").json["capabilities"]
        assert "map_files" in found["nowait"]["technique"]
        assert found["prefetch"]["provided"] == "native"
        span = {"Range": f"bytes={target['marker']}-{target['marker'] + 4095}"}
        assert service.request("GET", f"/v1/targets/{made}/memory", headers=span).status == 206
        told = service.request("GET", f"/v1/doctor?pid={target.pid}").json["findings"]
        verdicts = {each["gate"]: each["verdict"] for each in told}
        assert verdicts["a child of its own"] == verdicts[f"process {target.pid}"] == "fine"
        assert verdicts["ptrace"] == "limits"
        body = {"addresses": [hex(target["marker"])], "data": ["AAAAAAAAAAA="]}
        refused = service.request("POST", f"/v1/targets/{made}/writev", body)
        assert (refused.status, refused.slug) == (501, "unsupported")
        assert service.stop() == 0


def test_writes_go_on_under_the_one_for_writes(folder: Path) -> None:
    with (
        start("plain", "--uid", 4242, "--gid", 4242, "--marker", 7) as target,
        Service(folder, "--allow-writes", under=under(WITH_WRITES)) as service,
    ):
        made = service.register(target.pid)
        body = {"addresses": [hex(target["marker"])], "data": ["CQAAAAAAAAA="]}
        written = service.request("POST", f"/v1/targets/{made}/writev", body)
        assert (written.status, written.json["verified"]) == (200, True)


_TRY = """
import ctypes, json, sys
libc = ctypes.CDLL(None, use_errno=True)
def errno(number, arguments):
    done = libc.syscall(ctypes.c_long(number), *map(ctypes.c_long, arguments))
    return 0 if done >= 0 else ctypes.get_errno()
print(json.dumps([errno(*each) for each in json.loads(sys.argv[1])]))
"""

NEVER: dict[str, list[int]] = {
    "mount": [0, 0, 0, 0, 0],
    "umount2": [0, 0],
    "bpf": [-1, 0, 0],
    "ptrace": [-1, 0, 0, 0],
    "process_vm_writev": [0, 0, 0, 0, 0, 0],
    "io_uring_setup": [0, 0],
    "unshare": [0],
    "setns": [-1, 0],
    "setuid": [0],
    "perf_event_open": [0, 0, -1, -1, 0],
    "userfaultfd": [0],
    "keyctl": [0, 0],
    "init_module": [0, 0, 0],
    "kexec_load": [0, 0, 0, 0],
    "pidfd_getfd": [-1, 0, 0],
    "pidfd_send_signal": [-1, 9, 0, 0],  # it may ask by signal 0
    "clone3": [0, 0],
}
"""Calls that the service never makes; their arguments do nothing, where they are let through."""

NEW_USER, NETLINK = 0x1000_0000, 16


def errnos(calls: list[tuple[str, list[int]]], *command: str) -> list[int]:
    asked = json.dumps([[confined.number_of(name), arguments] for name, arguments in calls])
    done = subprocess.run(
        [*command, sys.executable, "-c", _TRY, asked], capture_output=True, timeout=60, check=True
    )
    answers: list[int] = json.loads(done.stdout)
    return answers


def test_what_it_never_does_is_not_there() -> None:
    calls = [*NEVER.items(), ("clone", [NEW_USER, 0, 0, 0, 0]), ("socket", [NETLINK, 3, 0])]
    assert set(errnos(calls, *under(PROFILE))) == {38}
    # Without it, they are: else this would show nothing.
    assert 38 not in errnos([(name, NEVER[name]) for name in ("mount", "bpf", "ptrace", "unshare")])


def test_writes_take_three_calls_more() -> None:
    assert allowed(WITH_WRITES) - allowed(PROFILE) == {"mlock", "process_vm_writev", "ptrace"}
    assert allowed(PROFILE) < allowed(WITH_WRITES)


def test_the_units_name_the_same_calls() -> None:
    assert named_in("farpeek.service") == allowed(PROFILE)
    assert named_in("allow-writes.conf") == allowed(WITH_WRITES) - allowed(PROFILE)


@pytest.mark.parametrize("path", [PROFILE, WITH_WRITES], ids=lambda path: path.name)
def test_it_is_as_the_runtime_specification_has_it(path: Path) -> None:
    profile: dict[str, Any] = json.loads(path.read_text())
    assert profile["defaultAction"] == "SCMP_ACT_ERRNO"
    assert profile["architectures"] == ["SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"]
    for rule in profile["syscalls"]:
        assert rule["comment"]
        assert rule["names"] == sorted(set(rule["names"]))
