"""What the kernel refuses, through the real service of an unprivileged user: which gate it was."""

from __future__ import annotations

import errno
import os
import time
from typing import TYPE_CHECKING

import pytest

from farpeek.access import ProcessGone
from farpeek.access.process_ref import ByNumber
from farpeek.access.verified import verified
from farpeek.errors import AccessDenied
from farpeek.identity import Process
from farpeek.kernel import gates, users
from farpeek.model import Gate
from support.folders import open_folder
from support.serving import Service, refusing
from support.targets import start

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import NoReturn

    from farpeek.access.process_ref import ProcessRef

NOBODY = 65534
OTHER = 1234
CAP_NET_RAW = 13
CAP_SYS_PTRACE = 1 << 19

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="becoming other users needs root")


@pytest.fixture(scope="module")
def unprivileged() -> Iterator[Service]:
    with open_folder() as folder, Service(folder, uid=NOBODY) as service:
        yield service


OWN = ("--uid", NOBODY, "--gid", NOBODY)
GATES = {
    "root's": ((), "uid"),
    "another user's": (("--uid", OTHER, "--gid", NOBODY), "uid"),
    "another group's": (("--uid", NOBODY, "--gid", OTHER), "gid"),
    "not dumpable": ((*OWN, "--nondumpable"), "dumpable"),
    "more capable": ((*OWN, "--capability", CAP_NET_RAW), "capability"),
    "in a user namespace": ((*OWN, "--userns"), "user-namespace"),
}


@pytest.mark.parametrize("whose", GATES)
def test_a_refusal_names_its_gate_and_a_cure(unprivileged: Service, whose: str) -> None:
    arguments, gate = GATES[whose]
    with start("plain", *arguments) as target:
        # Registering needs no access to the memory; the first read is refused.
        answer = unprivileged.read(unprivileged.register(target.pid), target["marker"], 8)
        assert answer.status == 403
        assert answer.json["type"] == "urn:farpeek:problem:access-denied"
        assert answer.json["gate"] == gate, answer.json
        assert answer.json["errno"] == "EPERM"
        assert answer.json["hint"]


def test_the_users_own_process_is_read(unprivileged: Service) -> None:
    with start("plain", *OWN) as target:
        answer = unprivileged.read(unprivileged.register(target.pid), target["marker"], 8)
        assert answer.status == 200
        assert answer.json["complete"] is True


def test_a_process_that_stops_being_dumpable_is_refused_from_then_on(
    unprivileged: Service,
) -> None:
    with start("plain", *OWN) as hiding, start("plain", *OWN) as other:
        target, others = unprivileged.register(hiding.pid), unprivileged.register(other.pid)
        assert unprivileged.read(target, hiding["marker"], 8).status == 200
        hiding.command("hide")
        refused = unprivileged.read(target, hiding["marker"], 8)
        assert (refused.status, refused.json["gate"]) == (403, "dumpable")
        # A refusal of one target is none of the other's business.
        assert unprivileged.read(others, other["marker"], 8).status == 200


@pytest.mark.parametrize(
    ("scope", "capable", "gate"),
    [
        ("1", False, Gate.YAMA),
        ("2", False, Gate.YAMA),
        ("3", False, Gate.YAMA),
        ("3", True, Gate.YAMA),
        ("0", False, Gate.DUMPABLE),  # what is left where nothing else refuses
        ("2", True, Gate.SECURITY_MODULE),  # above it there is no user namespace
    ],
)
def test_yama_is_named_where_it_is_what_refuses(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, scope: str, gate: Gate, *, capable: bool
) -> None:
    """The kernels of the tests have no Yama: its file is the test's, the processes are real."""
    (tmp_path / "ptrace_scope").write_text(f"{scope}\n")
    monkeypatch.setattr(gates, "_YAMA", tmp_path / "ptrace_scope")
    held = CAP_SYS_PTRACE if capable else 0
    same = gates.Credentials((0, 0, 0, 0), (0, 0, 0, 0), held, held)
    monkeypatch.setattr(gates, "credentials", lambda _pid: same)
    with start("plain") as target:
        found = gates.find(target.pid)
    assert found.gate is gate
    assert found.hint


def test_a_user_who_does_not_exist_here_is_told_as_such_where_nobody_tells_how_those_are_shown(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    own = gates.Credentials((0, 0, 0, 0), (0, 0, 0, 0), 0, 0)
    theirs = gates.Credentials((NOBODY,) * 4, (NOBODY,) * 4, 0, 0)
    monkeypatch.setattr(gates, "credentials", lambda pid: own if pid == "self" else theirs)
    monkeypatch.setattr(users, "_OVERFLOW_UID", tmp_path / "hidden")
    monkeypatch.setattr(users, "all_are_mapped", lambda: False)
    with start("plain") as target:
        assert gates.find(target.pid).gate is Gate.USER_NAMESPACE


def test_a_refusal_is_believed_of_a_process_that_lives_and_of_no_other() -> None:
    denied = AccessDenied(Gate.UID, "", "", errno.EPERM)

    def attempt(_ref: ProcessRef) -> NoReturn:
        if len(asked) > 1:
            target.kill()
            target.await_zombie()
        raise denied

    with start("plain") as target:
        process = Process(target.pid, os.pidfd_open(target.pid))
        asked: list[type[Exception]] = []
        try:
            for expected in (AccessDenied, ProcessGone):
                asked.append(expected)
                with pytest.raises(expected):
                    verified(ByNumber(process), attempt, time.monotonic() + 10)
        finally:
            os.close(process.pidfd)


@pytest.mark.parametrize("whose", GATES)
def test_a_service_of_root_reads_them_all(root_service: Service, whose: str) -> None:
    arguments, _ = GATES[whose]
    with start("plain", *arguments) as target:
        answer = root_service.read(root_service.register(target.pid), target["marker"], 8)
        assert answer.status == 200, answer.json


@pytest.fixture(scope="module")
def root_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with Service(tmp_path_factory.mktemp("root")) as service:
        yield service


def test_a_seccomp_filter_is_named() -> None:
    with (
        open_folder() as folder,
        Service(folder, uid=NOBODY, as_user=["--no-process-vm"]) as service,
        start("plain", *OWN) as target,
    ):
        answer = service.read(service.register(target.pid), target["marker"], 8)
        assert answer.status == 403
        assert answer.json["gate"] == "seccomp"


def test_an_exited_target_is_gone_even_for_those_who_could_not_read_it(
    unprivileged: Service,
) -> None:
    with start("plain") as target:
        registered = unprivileged.register(target.pid)
        target.kill()
        target.await_zombie()
        answer = unprivileged.read(registered, target["marker"], 8)
        assert answer.status == 410
        assert answer.json["type"] == "urn:farpeek:problem:target-exited"


def test_who_may_read_memory_but_see_no_page_table_is_told_what_nowait_lacks() -> None:
    lacking = ("dac_read_search", "dac_override")
    with (
        open_folder() as folder,
        Service(
            folder, "--nowait-check", "always", without=lacking, under=refusing("move_pages")
        ) as service,
        start("plain", "--uid", OTHER, "--gid", OTHER) as target,
    ):
        target_id = service.register(target.pid)
        assert service.read(target_id, target["marker"], 8).json["complete"] is True
        answer = service.read(target_id, target["marker"], 8, mode="nowait")
        assert (answer.status, answer.json["type"]) == (501, "urn:farpeek:problem:unsupported")
        assert "CAP_DAC_READ_SEARCH" in answer.json["detail"]
        listed = service.request("GET", f"/v1/targets/{target_id}/maps")
        assert listed.status == 200
        counted = service.request("GET", f"/v1/targets/{target_id}/maps?residency=true")
        assert (counted.status, counted.json["type"]) == (501, "urn:farpeek:problem:unsupported")
