"""What the service counts of itself: exactly what happened, under names from closed lists."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from support.sample import Sample
from support.targets import start
from support.waiting import until
from support.wire import Served

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MIB = 1 << 20
READV = "POST /v1/targets/{id}/readv"
LABELS = {
    *("route", "outcome", "mode", "reason", "state", "what"),
    *("le", "generation", "version", "api"),
}

Numbers = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture
def alone(folder: Path) -> Iterator[Served]:
    """Run a service that nobody else asks for anything."""
    with Served(folder, "--listen", "http://127.0.0.1:0") as service:
        yield service


def numbers(served: Served) -> Numbers:
    """Return every sample that the service shows."""
    reply = served.request("GET", "/metrics")
    assert reply.status == 200
    assert reply.headers["content-type"].startswith("text/plain; version=")
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(reply.body.decode())
        for sample in family.samples
    }


def number(found: Numbers, name: str, **labels: str) -> float:
    return found.get((name, frozenset(labels.items())), 0.0)


def test_requests_are_counted_by_route_and_outcome_and_timed(alone: Served) -> None:
    with Sample(MIB) as sample:
        target = alone.register(sample.pid)
        for _ in range(3):
            assert alone.read(target, sample.address, 8).status == 200
        assert alone.request("GET", "/v1/nowhere").status == 404
        assert alone.request("DELETE", f"/v1/targets/{target}/readv").status == 405
        assert alone.read("1-1", 0, 8).status == 404
    found = numbers(alone)
    assert number(found, "farpeek_requests_total", route=READV, outcome="done") == 3
    assert number(found, "farpeek_requests_total", route=READV, outcome="no-such-target") == 1
    assert number(found, "farpeek_requests_total", route="none", outcome="not-found") == 1
    assert number(found, "farpeek_requests_total", route="none", outcome="method-not-allowed") == 1
    assert number(found, "farpeek_request_duration_seconds_count", route=READV) == 4
    assert number(found, "farpeek_request_duration_seconds_bucket", route=READV, le="+Inf") == 4
    assert 0 < number(found, "farpeek_request_duration_seconds_sum", route=READV) < 10


def test_bytes_and_gaps_are_counted_whatever_route_they_take(alone: Served) -> None:
    with Sample(4 * MIB) as sample:
        target, address = alone.register(sample.pid), sample.address
        body = {"addresses": [address, 16, 4096], "lengths": 100}
        assert alone.request("POST", f"/v1/targets/{target}/readv", body).status == 200
        body["mode"] = "nowait"
        assert alone.request("POST", f"/v1/targets/{target}/readv", body).status == 200
        headers = {"Range": f"bytes={address}-{address + 3 * MIB - 1}"}
        path = f"/v1/targets/{target}/memory"
        assert len(alone.request("GET", path, headers=headers).body) == 3 * MIB
        ranges = {"ranges": [[hex(address), hex(address + 2 * MIB)]], "mode": "nowait"}
        assert alone.request("POST", path, ranges).status == 200
    found = numbers(alone)
    assert number(found, "farpeek_read_bytes_total", mode="wait") == 100 + 3 * MIB
    assert number(found, "farpeek_read_bytes_total", mode="nowait") == 100 + 2 * MIB
    assert number(found, "farpeek_gaps_total", reason="unmapped") == 4


def test_targets_and_their_ends_are_counted(alone: Served) -> None:
    with start("plain") as first, start("plain") as second:
        for each in (first, second):
            alone.register(each.pid)
        assert number(numbers(alone), "farpeek_targets", state="running") == 2
        first.kill()
        until(
            lambda: number(numbers(alone), "farpeek_target_exits_total") == 1, "the exit is counted"
        )
        assert number(numbers(alone), "farpeek_targets", state="exited") == 1


def test_who_is_refused_is_counted_by_the_reason(alone: Served) -> None:
    for token in ("wrong", "wrong too"):
        headers = {"Authorization": f"Bearer {token}"}
        assert alone.request_tcp("GET", "/v1/info", headers=headers).status == 401
    assert number(numbers(alone), "farpeek_refused_total", reason="unauthenticated") == 2
    assert alone.request_tcp("GET", "/metrics").status == 401  # they are for those who get in


def test_every_name_is_farpeeks_and_every_label_from_a_closed_list(alone: Served) -> None:
    with Sample(MIB) as sample:
        target = alone.register(sample.pid)
        alone.read(target, sample.address, 8)
        alone.request("GET", f"/v1/secret/{target}?token=SECRET")
    reply = alone.request("GET", "/metrics", headers={"Accept": "application/openmetrics-text"})
    assert reply.headers["content-type"].startswith("application/openmetrics-text")
    text = reply.body.decode()
    assert target not in text
    assert "secret" not in text.lower()
    for family in openmetrics.text_string_to_metric_families(text):
        assert re.match(r"(farpeek|process|python_gc)_", family.name)
        assert family.documentation
        for each in family.samples:
            assert set(each.labels) <= LABELS


def test_the_loop_is_looked_at_all_the_time(alone: Served) -> None:
    before = number(numbers(alone), "farpeek_loop_lag_seconds_count")
    until(
        lambda: number(numbers(alone), "farpeek_loop_lag_seconds_count") >= before + 2,
        "it was looked at again",
    )


@pytest.mark.parametrize("given", ["mine-1", "A.b:c/d+e=f@g_h", "x" * 128])
def test_the_id_of_a_request_comes_back_and_is_in_its_problem(alone: Served, given: str) -> None:
    headers = {"X-Request-Id": given}
    assert alone.request("GET", "/v1/info", headers=headers).headers["x-request-id"] == given
    refused = alone.request("GET", "/v1/targets/1-1", headers=headers)
    assert refused.headers["x-request-id"] == given
    assert refused.json["request_id"] == given


@pytest.mark.parametrize("given", ["", "two words", "x" * 129, "a\tb", 'quote"', "%0d%0a"])
def test_what_is_no_id_is_replaced_by_one_of_the_services_own(alone: Served, given: str) -> None:
    headers = {"X-Request-Id": given}
    ids = {
        alone.request("GET", "/v1/info", headers=headers).headers["x-request-id"] for _ in range(3)
    }
    assert len(ids) == 3
    assert given not in ids


def test_a_line_of_the_log_names_the_request_that_it_is_about(folder: Path) -> None:
    with start("plain") as target, Served(folder, "--allow-writes") as served:
        target_id = served.register(target.pid)
        body = {"addresses": [target["marker"]], "data": ["AQ=="]}
        path = f"/v1/targets/{target_id}/writev"
        assert served.request("POST", path, body, {"X-Request-Id": "w-7"}).status == 200
        until(lambda: '"request_id":"w-7"' in served.log, "the write is told with its request's id")
