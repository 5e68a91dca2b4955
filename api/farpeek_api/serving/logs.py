"""Logs on stderr, as text or JSON lines; never tokens, never what requests or answers contain."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import math
import sys
import time
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal, TextIO

from aiohttp.http_exceptions import HttpProcessingError

from farpeek_api.serving import request_ids

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

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """Give the line, with the request that it is about."""
        line = super().formatMessage(record)
        request_id = request_ids.CURRENT.get()
        return line if request_id is None else f"{line} [{request_id}]"


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
        request_id = request_ids.CURRENT.get()
        if request_id is not None:
            line["request_id"] = request_id
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


MOST_A_SECOND: Final = 20
"""Lines of one kind: whatever a client does, it cannot fill a disk with what is logged of it."""

_WINDOW_S: Final = 1.0
_MOST_KINDS: Final = 256
_SHOWN_OF_A_KIND: Final = 80


class RatedHandler(logging.StreamHandler[TextIO]):
    """Writes at most `MOST_A_SECOND` lines of a kind, and then how many others there were.

    A kind is a logger, and the text that its lines are made from.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._kinds: OrderedDict[tuple[str, str], _Kind] = OrderedDict()

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line, or count it."""
        now = time.monotonic()
        self._tell_of_others(now)
        kind = self._kind((record.name, str(record.msg)), now)
        kind.lines += 1
        if kind.lines <= MOST_A_SECOND:
            super().emit(record)
        elif kind.lines == MOST_A_SECOND + 1:
            with contextlib.suppress(RuntimeError):  # no loop, so the next line tells
                asyncio.get_running_loop().call_later(_WINDOW_S, self._tell_now)

    def close(self) -> None:
        """Say what was not said yet."""
        self._tell_of_others(math.inf)
        super().close()

    @property
    def kinds(self) -> int:
        """How many it keeps count of."""
        return len(self._kinds)

    def _kind(self, key: tuple[str, str], now: float) -> _Kind:
        kind = self._kinds.get(key)
        if kind is None:
            if len(self._kinds) >= _MOST_KINDS:
                self._tell(*self._kinds.popitem(last=False))
            kind = self._kinds[key] = _Kind(now)
        return kind

    def _tell_now(self) -> None:
        with self.lock or contextlib.nullcontext():
            self._tell_of_others(time.monotonic())

    def _tell_of_others(self, now: float) -> None:
        """Forget kinds whose second is over, and say how many lines were left out."""
        while self._kinds and now - next(iter(self._kinds.values())).since >= _WINDOW_S:
            self._tell(*self._kinds.popitem(last=False))

    def _tell(self, key: tuple[str, str], kind: _Kind) -> None:
        left_out = kind.lines - MOST_A_SECOND
        if left_out <= 0:
            return
        name, text = key
        # Others than ours put whole requests into the text itself.
        shown = f", like: {text[:_SHOWN_OF_A_KIND]}" if name.startswith("farpeek.") else ""
        members = {
            "name": name,
            "levelno": logging.WARNING,
            "levelname": logging.getLevelName(logging.WARNING),
            "msg": "%d more lines within a second were left out%s",
            "args": (left_out, shown),
        }
        super().emit(logging.makeLogRecord(members))


@dataclass(slots=True)
class _Kind:
    """Lines of one kind since a moment (time.monotonic)."""

    since: float
    lines: int = 0


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
    handler = RatedHandler(sys.stderr)
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
