"""What docs and deploy say of the fleet is what there is."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from farpeek_api.bus import problems
from farpeek_api.fleet.agent import INTERNAL
from support import broker

ROOT = Path(__file__).resolve().parents[3]


def test_the_page_has_every_problem_of_the_agent_with_its_status() -> None:
    page = (ROOT / "docs" / "fleet.md").read_text()
    rows = re.findall(r"^\| `([a-z-]+)` \| (\d{3}) \| ", page, re.MULTILINE)
    known = {*problems.KINDS, INTERNAL} - {problems.NAME_TAKEN}
    assert sorted(rows) == sorted((each.slug, str(each.status)) for each in known)


def test_the_brokers_configuration_is_one_and_has_the_permissions_that_the_tests_have() -> None:
    path = ROOT / "deploy" / "nats" / "fleet.conf"
    program = Path(sys.executable).with_name("nats-server")
    checked = subprocess.run([program, "-t", "-c", path], capture_output=True, check=False)
    assert checked.returncode == 0, checked.stderr
    lists = [
        set(re.findall(r'"([^"]*)"', each)) for each in re.findall(r"\[(\".*)\]", path.read_text())
    ]
    for entry in (broker.client("alice"), broker.node("n1"), broker.admin("admin")):
        for each in re.findall(r"\[(\".*?)\]", entry):
            assert set(re.findall(r'"([^"]*)"', each)) in lists
