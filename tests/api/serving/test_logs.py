"""What clients can have logged is bounded a second, and what is left out is counted."""

from __future__ import annotations

import io
import logging
import re
from typing import TYPE_CHECKING

import pytest

from farpeek_api.serving.logs import MOST_A_SECOND, RatedHandler
from support.audits import done_in
from support.sample import Sample
from support.wire import Served

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def log(stream: io.StringIO) -> logging.Logger:
    found = logging.Logger("farpeek.test")  # noqa: LOG001 - nobody else is to have its handler
    found.addHandler(RatedHandler(stream))
    return found


def test_lines_of_a_kind_are_counted_where_there_are_many(
    log: logging.Logger, stream: io.StringIO
) -> None:
    for number in range(1000):
        log.warning("line %d", number)
    log.warning("another kind")
    log.handlers[0].close()
    lines = stream.getvalue().splitlines()
    assert lines[:MOST_A_SECOND] == [f"line {number}" for number in range(MOST_A_SECOND)]
    assert lines[MOST_A_SECOND] == "another kind"
    told = sum(
        int(found) for found in re.findall(r"(\d+) more lines within a second", stream.getvalue())
    )
    assert told + len(re.findall(r"^line", stream.getvalue(), re.MULTILINE)) == 1000


def test_kinds_without_end_are_not_kept(log: logging.Logger) -> None:
    for number in range(1000):
        log.warning(f"kind {number}")  # noqa: G004 - as libraries do
    handler = log.handlers[0]
    assert isinstance(handler, RatedHandler)
    assert handler.kinds <= 256


def test_each_write_leaves_a_line_however_many_there_are(folder: Path) -> None:
    with Sample() as process, Served(folder, "--allow-writes") as service:
        target = service.register(process.pid)
        body = {"addresses": [process.address], "data": ["AA=="]}
        for _ in range(100):
            path = f"/v1/targets/{target}/writev"
            assert service.request("POST", path, body).status == 200
        assert service.stop() == 0
        assert len(done_in(service.log)) == 100
