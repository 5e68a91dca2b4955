"""`farpeek mcp` as a command: what it says where it cannot be."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from farpeek_api.cli import statuses
from support.commands import run
from support.waiting import PATIENCE_S

if TYPE_CHECKING:
    from pathlib import Path


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mcp", None)
    ran = run("mcp")
    assert ran.status == statuses.USAGE
    assert ran.error.count("\n") == 1
    assert "pip install 'farpeek[mcp]'" in ran.error
    assert not ran.output


@pytest.mark.parametrize(
    ("words", "cure"),
    [
        (["--approval-timeout", "0"], "above 0, up to 600"),
        (["--approval-timeout", "601"], "above 0, up to 600"),
        (["--results-last", "nan"], "above 0"),
        (["--json"], "no such option as '--json'"),
        (["--url", "tcp:1"], "write unix:PATH"),
    ],
)
def test_a_wrong_word_is_refused_with_its_cure(words: list[str], cure: str) -> None:
    ran = run("mcp", *words)
    assert ran.status == statuses.USAGE
    assert cure in ran.error


def test_it_ends_with_its_input(url: str) -> None:
    command = [sys.executable, "-m", "farpeek_api", "mcp", "--url", url]
    done = subprocess.run(command, input=b"", capture_output=True, check=False, timeout=PATIENCE_S)
    assert (done.returncode, done.stdout, done.stderr) == (statuses.DONE, b"", b"")


def test_a_service_that_is_not_there_is_told_by_its_tools(folder: Path) -> None:
    script = "import sys; from farpeek_api.__main__ import main; sys.exit(main(['mcp']))"
    done = subprocess.run(
        [sys.executable, "-c", script],
        input=b"",
        capture_output=True,
        check=False,
        timeout=PATIENCE_S,
        env={"FARPEEK_URL": f"unix:{folder}/none.sock", "PATH": "/usr/bin:/bin"},
    )
    assert done.returncode == statuses.DONE, done
