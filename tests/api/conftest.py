"""One service and one sample process for all tests that leave them as they are."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from farpeek_api.openapi import document
from support import watching
from support.described import Described
from support.folders import open_folder
from support.sample import Sample
from support.wire import Served

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FARPEEK_LISTEN", "NOTIFY_SOCKET"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session", autouse=True)
def _answers_are_as_described() -> Iterator[None]:
    """Hold every answer that a test gets against the OpenAPI document."""
    described = Described(json.loads(document.text()))
    watching.watchers.append(described)
    yield
    watching.watchers.remove(described)


@pytest.fixture
def folder() -> Iterator[Path]:
    """Return a folder that everybody may pass through, with a short path."""
    with open_folder() as made:
        yield made


@pytest.fixture(scope="session")
def served() -> Iterator[Served]:
    """Run a service with default settings but for smaller limits, and TCP besides."""
    flags = [
        *("--listen", "http://127.0.0.1:0", "--deadline", "1", "--max-body-bytes", "200000"),
        *("--max-regions", "2000", "--max-request-bytes", "8388608"),
    ]
    with open_folder() as made, Served(made, *flags) as service:
        yield service


@pytest.fixture(scope="session")
def sample() -> Iterator[Sample]:
    with Sample(12 << 20) as process:
        yield process


@pytest.fixture(scope="session")
def target(served: Served, sample: Sample) -> str:
    """Return the id of the sample process at the service."""
    return served.register(sample.pid)
