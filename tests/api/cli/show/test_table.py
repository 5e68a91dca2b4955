"""Tables fit the terminal, and lose what matters least."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from farpeek_api.cli.show.escape import width
from farpeek_api.cli.show.table import Cell, Column, table
from farpeek_api.cli.show.terminal import Terminal

if TYPE_CHECKING:
    import pytest

_COLUMNS = [
    Column("pid", right=True),
    Column("comm", least=6),
    Column("container", rank=2),
    Column("path", rank=1, least=10, cut_left=True),
]
_ROWS = [
    [Cell("1"), Cell("init"), Cell("0123456789ab"), Cell("/usr/lib/systemd/systemd")],
    [Cell("4242"), Cell("鯨" * 7), Cell(""), Cell("/\x1b[31m")],
]


def _shown(monkeypatch: pytest.MonkeyPatch, columns: str) -> list[str]:
    monkeypatch.setenv("COLUMNS", columns)
    return list(table(Terminal(io.StringIO()), _COLUMNS, _ROWS))


def test_where_there_is_room_nothing_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = _shown(monkeypatch, "80")
    assert lines == _shown(monkeypatch, "")
    assert lines[0].split() == ["PID", "COMM", "CONTAINER", "PATH"]
    assert lines[1].endswith("/usr/lib/systemd/systemd")
    assert lines[2].endswith(r"/\x1b[31m")


def test_where_there_is_little_the_least_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    narrow = _shown(monkeypatch, "36")
    assert narrow[0].split() == ["PID", "COMM", "PATH"]
    assert narrow[1].split()[-1].startswith("~")
    assert narrow[1].endswith("/systemd")
    assert _shown(monkeypatch, "20")[0].split() == ["PID", "COMM"]
    for columns in range(20, 90):
        assert max(map(width, _shown(monkeypatch, str(columns)))) <= columns


def test_no_rows_are_no_table() -> None:
    assert list(table(Terminal(io.StringIO()), _COLUMNS, [])) == []
