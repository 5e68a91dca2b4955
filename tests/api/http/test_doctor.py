"""The doctor of a running service, and on the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support.commands import run, screen
from support.wire import Served

if TYPE_CHECKING:
    from pathlib import Path

    from support.sample import Sample


def test_a_running_service_tells_what_it_may_do(folder: Path, sample: Sample) -> None:
    # It starts interpreters, which takes seconds on a machine that is busy.
    with Served(folder, "--deadline", "300") as patient:
        shown = patient.request("GET", f"/v1/doctor?pid={sample.pid}").json["findings"]
    by_gate = {each["gate"]: each for each in shown}
    assert by_gate[f"process {sample.pid}"]["verdict"] == "fine"
    assert by_gate["a child of its own"]["verdict"] == "fine"


def test_who_asks_for_what_it_does_not_know_is_told(served: Served) -> None:
    assert served.request("GET", "/v1/doctor?pid=0").slug == "invalid"
    assert served.request("GET", "/v1/doctor?pdi=1").slug == "invalid"


def test_the_command_has_a_line_for_each_finding_and_wraps_them() -> None:
    whole = run("doctor")
    assert whole.status == 0
    assert any(line.startswith("fine    process_vm_readv: ") for line in whole.lines)
    narrow = screen("doctor", columns=40)
    assert any(line.startswith("fine    process_vm_readv: reads the") for line in narrow.lines)
    assert run("doctor", "--pid", "0").status == 2


def test_a_process_that_is_not_there_is_status_1_with_the_cures() -> None:
    done = run("doctor", "--pid", str(2**31 - 1))
    assert done.status == 1
    assert done.lines[0].startswith("blocks  process 2147483647: there is none")
    assert any("docker: --pid host" in line for line in done.lines)
