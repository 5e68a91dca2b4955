"""Debuggers find the session's service by the environment."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from support.wire import Served


@pytest.fixture(autouse=True)
def url(served: Served, monkeypatch: pytest.MonkeyPatch) -> str:
    for name in ("FARPEEK_TOKEN_FILE", "NO_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FARPEEK_URL", f"unix:{served.path}")
    return f"unix:{served.path}"
