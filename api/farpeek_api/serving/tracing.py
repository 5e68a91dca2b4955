"""A span of OpenTelemetry for each request, where that is asked for.

Off, there is none of it: not a module is loaded, and no request passes through here. A span is
called by its route; no attribute holds a pid, an address, a path or an id. Where spans go, and how
many of them, is said by the variables of OpenTelemetry (``OTEL_EXPORTER_OTLP_ENDPOINT``,
``OTEL_TRACES_SAMPLER``, ...).
"""

from __future__ import annotations

import asyncio
import os
import threading
from typing import TYPE_CHECKING, Final

import farpeek

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiohttp import web
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter

    from farpeek_api.serving.counting import Requests

    Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

LAST_S: Final = 0.5
"""For the last spans to go out, when the service stops."""

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_SERVER_ERRORS: Final = 500


class TracingError(Exception):
    """Tracing cannot be had; the message has the cure."""


def open_tracing(requests: Requests) -> Tracing:
    """Make what traces. Raises TracingError where OpenTelemetry is not installed."""
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415 - an extra
            OTLPSpanExporter,
        )
    except ImportError as error:
        raise TracingError(
            "--tracing needs OpenTelemetry: pip install 'farpeek[otel]', or leave it out"
        ) from error
    return Tracing(requests, OTLPSpanExporter())


class Tracing:
    """Spans of requests. It stands between the gate and what counts, and sees what both know."""

    def __init__(self, requests: Requests, exporter: SpanExporter) -> None:
        from opentelemetry import trace  # noqa: PLC0415 - an extra, as all of these
        from opentelemetry.trace.propagation.tracecontext import (  # noqa: PLC0415
            TraceContextTextMapPropagator,
        )

        self._requests = requests
        self._provider = _provider(exporter)
        self._tracer = self._provider.get_tracer("farpeek", farpeek.__version__)
        self._extract = TraceContextTextMapPropagator().extract
        self._kind = trace.SpanKind.SERVER
        self._failed = trace.StatusCode.ERROR
        self._current = trace.get_current_span

    def around(self, inner: Handler) -> Handler:
        """Give what does as ``inner``, within a span; a ``traceparent`` is taken over."""

        async def traced(request: web.BaseRequest) -> web.StreamResponse:
            method = request.method if request.method in _METHODS else "_OTHER"
            with self._tracer.start_as_current_span(
                method,
                self._extract(request.headers),
                self._kind,
                {"http.request.method": method},
                record_exception=False,  # its text may say what is in the request
                set_status_on_exception=False,
            ) as span:
                response = await inner(request)
                span.set_attribute("http.response.status_code", response.status)
                if response.status >= _SERVER_ERRORS:
                    span.set_status(self._failed)
                return response

        return traced

    def count(self, route: str, outcome: str, seconds: float | None) -> None:
        """Count a request as `Requests` does, and name its span by what is known now."""
        span = self._current()
        if route != "none":
            span.update_name(route)
            span.set_attribute("http.route", route.partition(" ")[2])
        if outcome != "done":
            span.set_attribute("error.type", outcome)
        self._requests.count(route, outcome, seconds)

    async def close(self) -> None:
        """Send what is left, for at most `LAST_S`: nobody may be there to take it."""
        closing = threading.Thread(target=self._provider.shutdown, daemon=True)
        closing.start()
        await asyncio.to_thread(closing.join, LAST_S)


def _provider(exporter: SpanExporter) -> TracerProvider:
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    name = {} if "OTEL_SERVICE_NAME" in os.environ else {"service.name": "farpeek"}
    resource = Resource.create({**name, "service.version": farpeek.__version__})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider
