"""What docs/python.md shows is run, in its order, against a real service and a real process."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from farpeek_api.client import Client

if TYPE_CHECKING:
    import pytest

    from support.sample import Sample

PAGE = Path(__file__).resolve().parents[3] / "docs" / "python.md"


def test_what_the_page_shows_runs(
    url: str,
    sample: Sample,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("FARPEEK_URL", url)
    monkeypatch.chdir(tmp_path)  # for the file of a dump
    snippets = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert len(snippets) > 5
    names: dict[str, object] = {"pid": sample.pid, "address": sample.address}
    try:
        for number, snippet in enumerate(snippets):
            code = compile(snippet, f"snippet {number} of {PAGE.name}", "exec")
            exec(code, names)  # noqa: S102 - the project's own
    finally:
        client = names["peek"]
        assert isinstance(client, Client)
        client.close()
    assert (tmp_path / "memory").stat().st_size >= sample.size
    shown = capsys.readouterr().out
    assert sample.bytes(0, 16).hex(" ") in shown
    assert f"{sample.bytes(0, 8)!r}" in shown
    assert "region 1: 8 bytes at 0x0 are unmapped" in shown
    assert "404 no-such-process" in shown
