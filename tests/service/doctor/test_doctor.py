"""The doctor says what blocks, on hosts that are made so that something does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from farpeek.doctor import Finding, Verdict, examine
from farpeek.doctor.findings import Cure, worst_first
from support.targets import start

SUPPORT = Path(__file__).resolve().parents[2] / "support"
NOBODY = 65_534

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="takes privileges away, so it needs some")


def findings(*command: str, status: int, pid: int | None = None) -> dict[str, dict[str, object]]:
    """Run `farpeek doctor` by a command that changes what it may do; its findings by gate."""
    done = subprocess.run(
        [*command, "doctor", "--json", *([] if pid is None else ["--pid", str(pid)])],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == status, done.stderr
    return {each["gate"]: each for each in json.loads(done.stdout)["findings"]}


FARPEEK = (sys.executable, "-m", "farpeek_api")


def as_user(*flags: str) -> tuple[str, ...]:
    return (sys.executable, str(SUPPORT / "as_user.py"), str(NOBODY), str(NOBODY), *flags, "--")


def test_where_all_is_well_a_process_and_a_child_can_be_read() -> None:
    with start("plain") as target:
        found = {each.gate: each for each in examine(target.pid)}
    assert found["a child of its own"].verdict is Verdict.FINE
    assert found[f"process {target.pid}"].verdict is Verdict.FINE
    assert found["process_vm_readv"].verdict is Verdict.FINE
    assert not [each for each in found.values() if each.verdict is Verdict.BLOCKS]


@needs_root
def test_another_users_process_is_refused_by_its_gate_with_the_cure() -> None:
    with start("plain") as target:
        found = findings(*as_user(), status=1, pid=target.pid)
    refused = found[f"process {target.pid}: uid"]
    assert refused["verdict"] == "blocks"
    assert "uid 0" in str(refused["here"])
    assert "CAP_SYS_PTRACE" in str(refused["cure"])
    assert found["CAP_SYS_PTRACE"]["verdict"] == "limits"
    # This user may not even enter the folder of the interpreter, perhaps.
    assert found["a child of its own"]["verdict"] in {"fine", "note"}
    assert found[f"page table of {target.pid}"]["verdict"] == "limits"


@needs_root
def test_a_seccomp_filter_blocks_everything_and_is_named() -> None:
    found = findings(
        sys.executable, str(SUPPORT / "refuse.py"), "process_vm_readv", *FARPEEK, status=1
    )
    assert found["process_vm_readv"]["verdict"] == "blocks"
    assert "seccomp" in str(found["process_vm_readv"]["here"])
    assert found["a child of its own"]["verdict"] == "blocks"
    assert found["seccomp"]["here"] == "a filter"
    assert next(iter(found.values()))["verdict"] == "blocks", "the worst comes first"


@needs_root
def test_a_proc_that_hides_others_is_named() -> None:
    found = findings(*as_user("--hide-others"), status=0)
    assert found["hidepid"]["verdict"] == "limits"
    assert "their numbers alone" in str(found["hidepid"]["effect"])


def test_few_descriptors_are_said_in_targets() -> None:
    """By the hard limit: the service raises the soft one itself."""
    soft = findings("prlimit", "--nofile=128:", *FARPEEK, status=0)
    assert soft["descriptors"]["verdict"] == "fine"
    found = findings("prlimit", "--nofile=128:128", *FARPEEK, status=0)
    assert found["descriptors"]["verdict"] == "limits"
    assert "fewer than 64 targets" in str(found["descriptors"]["effect"])


def test_a_number_of_nothing_and_what_has_no_memory_are_told_apart() -> None:
    gone = {each.gate: each for each in examine(2**31 - 1)}[f"process {2**31 - 1}"]
    assert gone.verdict is Verdict.BLOCKS
    assert "none that the service sees" in gone.here
    with start("plain") as target:
        target.kill()
        target.await_zombie()
        ended = {each.gate: each for each in examine(target.pid)}[f"process {target.pid}"]
    assert ended.verdict is Verdict.BLOCKS
    assert "no memory" in ended.here


def test_the_worst_comes_first() -> None:
    verdicts = [Verdict.FINE, Verdict.BLOCKS, Verdict.NOTE, Verdict.LIMITS, Verdict.BLOCKS]
    given = [Finding(str(n), verdict, "", "", Cure()) for n, verdict in enumerate(verdicts)]
    assert [each.gate for each in worst_first(given)] == ["1", "4", "3", "2", "0"]
