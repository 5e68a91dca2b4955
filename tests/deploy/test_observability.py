"""Alerts and dashboard: they ask for numbers that the service shows, and Prometheus takes them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from support.folders import open_folder
from support.sample import Sample
from support.wire import Served

if TYPE_CHECKING:
    from collections.abc import Iterator

TOP = Path(__file__).resolve().parents[2]
ALERTS = TOP / "deploy" / "prometheus"
DASHBOARD = json.loads((TOP / "deploy" / "grafana" / "farpeek.json").read_text())
NAME = re.compile(r"\b(?:farpeek|process|python)_[a-z_]+")
GROUPED = re.compile(r"by \(([a-z_, ]+)\)")
OF_PROMETHEUS = {"instance", "job", "le"}


def promtool() -> str:
    found = shutil.which("promtool") or shutil.which(TOP / "build" / "promtool")
    if found is None:
        pytest.skip("there is no promtool; `make promtool` brings it where there is apt-get")
    return found


@pytest.fixture(scope="module")
def shown() -> dict[str, set[str]]:
    """Return the samples of a service that has done a little of everything, and their labels."""
    with open_folder() as folder, Served(folder) as served, Sample(1 << 16) as sample:
        served.read(served.register(sample.pid), sample.address, 8)
        text = served.request("GET", "/metrics").body.decode()
    return {
        each.name: set(each.labels)
        for family in text_string_to_metric_families(text)
        for each in family.samples
    }


def alerts() -> Iterator[str]:
    for group in yaml.safe_load((ALERTS / "alerts.yaml").read_text())["groups"]:
        for rule in group["rules"]:
            yield rule["expr"]


def queries() -> Iterator[str]:
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            yield target["expr"]
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["query"]["query"]


@pytest.mark.parametrize("expression", [*alerts(), *queries()])
def test_an_expression_asks_for_what_the_service_shows(
    expression: str, shown: dict[str, set[str]]
) -> None:
    names = NAME.findall(expression)
    assert names
    assert set(names) <= set(shown)
    labels = set().union(*(shown[name] for name in names)) | OF_PROMETHEUS
    for group in GROUPED.findall(expression):
        assert set(group.split(", ")) <= labels


def test_prometheus_takes_the_alerts_and_each_fires_when_it_should() -> None:
    for command in ("check", "test"):
        file = "alerts.yaml" if command == "check" else "alerts-test.yaml"
        done = subprocess.run(
            [promtool(), command, "rules", file],
            cwd=ALERTS,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_tried() -> None:
    tried = yaml.safe_load((ALERTS / "alerts-test.yaml").read_text())["tests"]
    named = {each["alertname"] for test in tried for each in test["alert_rule_test"]}
    groups = yaml.safe_load((ALERTS / "alerts.yaml").read_text())["groups"]
    assert named == {rule["alert"] for group in groups for rule in group["rules"]}


def test_panels_of_the_dashboard_lie_apart_and_within_its_width() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (column, row)
            for column in range(place["x"], place["x"] + place["w"])
            for row in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken
        assert max(column for column, _ in cells) < 24
        taken |= cells
