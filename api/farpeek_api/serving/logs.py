"""Logs on stderr, as text or JSON lines; never tokens, never what requests or answers contain."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Literal

from aiohttp.http_exceptions import HttpProcessingError

log = logging.getLogger("farpeek.api")
"""Of this package. What goes in must be safe for anybody to read."""


def _time(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class TextFormatter(logging.Formatter):
    """``2026-06-02T12:23:26.120Z INFO farpeek.api: message``."""

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802, ARG002 - logging's name
        """Give the time as RFC 3339."""
        return _time(record)


class JsonFormatter(logging.Formatter):
    """One JSON object a line: ``time``, ``level``, ``logger``, ``message``, ``exception``."""

    def format(self, record: logging.LogRecord) -> str:
        """Give the line."""
        line = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


class _NoHeaderLines(logging.Filter):
    """Drops aiohttp's reports on bad requests: they quote header lines, Authorization included."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        while error is not None:
            if isinstance(error, HttpProcessingError):
                return False
            error = error.__cause__ or error.__context__
        return True


_NO_HEADER_LINES = _NoHeaderLines()


def configure(form: Literal["text", "json"], level: int) -> None:
    """Send all logs of the process to stderr; libraries only from warnings on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        JsonFormatter()
        if form == "json"
        else TextFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    )
    handler.addFilter(_NO_HEADER_LINES)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("farpeek").setLevel(level)
    logging.getLogger("aiohttp.server").addFilter(_NO_HEADER_LINES)
    # Its warnings quote Sec-WebSocket-Protocol, where some clients put a token.
    logging.getLogger("aiohttp.websocket").setLevel(logging.ERROR)
