"""What the doctor finds in a container, and that the flags which it prints for Docker cure it.

podman stands for docker; it takes the same flags.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from support.podman import PLAIN, podman

TOP = Path(__file__).resolve().parents[2]
CONFINED = (
    f"--security-opt=seccomp={TOP}/deploy/seccomp/farpeek.json",
    "--security-opt=no-new-privileges",
)


@dataclass(frozen=True, slots=True)
class Case:
    """A gate, and how a container is started in which it says something."""

    gate: str
    verdict: str = "limits"
    flags: tuple[str, ...] = ()


_NPROC = ("--ulimit=nproc=4096:4096",)
"""With a limit of its own a container gets none of containers.conf, and podman's are too high."""

CASES = (
    *(
        Case(f"CAP_{name}")
        for name in ("SYS_PTRACE", "DAC_READ_SEARCH", "CHECKPOINT_RESTORE", "SYS_NICE")
    ),
    # Without these the profile of the runtime does not allow them.
    *(Case(call) for call in ("process_madvise", "move_pages", "cachestat")),
    *(Case(call, flags=CONFINED) for call in ("process_vm_writev", "ptrace")),
    Case("pid namespace", "note"),
    Case("pids.max", flags=("--pids-limit=50",)),
    Case("descriptors", flags=("--ulimit=nofile=128:128",)),
)


def examined(flags: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    if any(flag.startswith("--ulimit=") for flag in flags):
        flags += _NPROC
    command = ("run", "--rm", "--network=none", "--no-healthcheck", *flags, PLAIN)
    done = podman(*command, "doctor", "--json", status=None)
    assert done.returncode in (0, 1), done.stderr
    return {each["gate"]: each for each in json.loads(done.stdout)["findings"]}


def printed(cure: str) -> tuple[str, ...]:
    """Take the flags out of a cure, up to where it says "or"."""
    flags = re.findall(r"(--[a-z-]+) ([A-Za-z0-9_./=:-]+)", re.split(r"[;,] ", cure)[0])
    assert flags, cure
    return tuple(f"{name}={value.replace('=deploy/', f'={TOP}/deploy/')}" for name, value in flags)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.gate)
def test_a_finding_in_a_container_is_cured_by_the_flags_that_it_prints(case: Case) -> None:
    found = examined(case.flags)[case.gate]
    assert found["verdict"] == case.verdict, found
    cured = examined(printed(found["cure"]["docker"]))[case.gate]
    assert cured["verdict"] == "fine", cured
