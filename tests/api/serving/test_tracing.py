"""Spans of OpenTelemetry: one a request, called by its route, and nothing about anybody in it."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from support.ending import Ending
from support.sample import Sample
from support.waiting import until
from support.wire import Served

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from opentelemetry.proto.trace.v1.trace_pb2 import Span

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"
SERVER, ERROR = 2, 2  # SpanKind and StatusCode of the protocol
ATTRIBUTES = {"http.request.method", "http.route", "http.response.status_code", "error.type"}


class Collector(Ending):
    """Takes spans by OTLP over HTTP, as a collector does."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.resources: list[dict[str, str]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.take(ExportTraceServiceRequest.FromString(body))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def take(self, request: ExportTraceServiceRequest) -> None:
        for group in request.resource_spans:
            self.resources.append(attributes(group.resource))
            for scope in group.scope_spans:
                self.spans += scope.spans

    def named(self, name: str) -> Span:
        """Return the span of that name, once it is there."""
        until(lambda: name in [span.name for span in self.spans], f"the span {name} has come")
        return next(span for span in self.spans if span.name == name)

    def end(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def attributes(holder: Any) -> dict[str, str]:  # noqa: ANN401 - a resource or a span
    return {
        each.key: each.value.string_value or str(each.value.int_value) for each in holder.attributes
    }


def environment(url: str) -> dict[str, str]:
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_BSP_SCHEDULE_DELAY": "50"}


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as collecting:
        yield collecting


@pytest.fixture
def traced(folder: Path, collector: Collector) -> Iterator[Served]:
    flags = ("--tracing", "--listen", "http://127.0.0.1:0")
    with Served(folder, *flags, environment=environment(collector.url)) as served:
        yield served


def test_a_request_is_a_span_called_by_its_route(traced: Served, collector: Collector) -> None:
    with Sample() as sample:
        target = traced.register(sample.pid)
        headers = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
        body = {"addresses": [sample.address], "lengths": 8}
        assert traced.request("POST", f"/v1/targets/{target}/readv", body, headers).status == 200
    span = collector.named("POST /v1/targets/{id}/readv")
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, PARENT)
    assert span.kind == SERVER
    assert attributes(span) == {
        "http.request.method": "POST",
        "http.route": "/v1/targets/{id}/readv",
        "http.response.status_code": "200",
    }
    assert collector.named("POST /v1/targets").parent_span_id == b""
    assert collector.resources[0]["service.name"] == "farpeek"
    assert not any("pid" in name for name in collector.resources[0])


def test_no_attribute_is_about_anybody(traced: Served, collector: Collector) -> None:
    with Sample() as sample:
        target = traced.register(sample.pid)
        traced.read(target, sample.address, 8)
        traced.read("1-1", 16, 8)
        traced.request("GET", f"/v1/processes?comm=secret&uid={os.getuid()}")
        traced.request("GET", "/secret/path")
        traced.request("PROPFIND", "/v1/info")
        traced.request_tcp("GET", "/v1/info")
    until(lambda: len(collector.spans) == 7, "all spans have come")
    assert "_OTHER" in [span.name for span in collector.spans]
    for span in collector.spans:
        assert attributes(span).keys() <= ATTRIBUTES
        assert "secret" not in str(span).lower()
        assert not span.events
    outcomes = {attributes(span).get("error.type") for span in collector.spans}
    assert {None, "no-such-target", "not-found", "unauthenticated"} <= outcomes


def test_a_traceparent_that_is_none_begins_a_trace(traced: Served, collector: Collector) -> None:
    for given in ("", "00-0-0-0", "x" * 1000, f"ff-{TRACE}-{PARENT}-01"):
        assert traced.request("GET", "/livez", headers={"traceparent": given}).status == 200
    until(lambda: len(collector.spans) == 4, "all spans have come")
    assert len({span.trace_id for span in collector.spans}) == 4
    assert all(not span.parent_span_id for span in collector.spans)


def test_a_stop_sends_what_is_left(folder: Path, collector: Collector) -> None:
    late = {**environment(collector.url), "OTEL_BSP_SCHEDULE_DELAY": "60000"}
    with Served(folder, "--tracing", environment=late) as served:
        assert served.request("GET", "/livez").status == 200
        assert collector.spans == []
        assert served.stop() == 0
    assert [span.name for span in collector.spans] == ["GET /livez"]


def test_a_collector_that_never_answers_keeps_nobody_waiting(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        patient = {**environment(url), "OTEL_EXPORTER_OTLP_TIMEOUT": "60000"}
        with Served(folder, "--tracing", environment=patient) as served:
            for _ in range(10):
                assert served.request("GET", "/livez").status == 200
            until(lambda: bool(select.select([silent], [], [], 0)[0]), "it sends a span")
            assert served.stop() == 0


def test_off_nothing_of_it_is_loaded() -> None:
    program = (
        "import sys, farpeek_api.serving.server\n"
        "assert not [name for name in sys.modules if name.startswith('opentelemetry')]"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_without_the_extra_the_cure_is_named(folder: Path) -> None:
    program = (
        "import sys; sys.modules['opentelemetry.exporter'] = None\n"
        "from farpeek_api.__main__ import main\n"
        f"sys.exit(main(['serve', '--tracing', '--listen', 'unix:{folder}/run/x.sock']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "pip install 'farpeek[otel]'" in done.stderr
