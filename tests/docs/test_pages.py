"""What the pages of docs/ show to type does what they say."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from support.console import carry_out, matches, steps
from support.folders import open_folder

DOCS = Path(__file__).resolve().parents[2] / "docs"

PAGES = ("../README.md", "quickstart.md", "http.md", "recipes.md")


@pytest.mark.parametrize("name", PAGES)
def test_what_a_page_shows_to_type_shows_what_it_says(name: str, tmp_path: Path) -> None:
    with open_folder() as folder:
        socket = folder / "farpeek.sock"
        environment = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "SOCKET": str(socket),
            "FARPEEK_URL": f"unix:{socket}",
            "FARPEEK_LISTEN": f"unix:{socket}",
        }
        assert carry_out(DOCS / name, tmp_path, environment) > 5


def test_a_page_that_shows_something_else_fails() -> None:
    assert matches("0x7f04 at 12 ... end", "0x8a11 at 7\n whatever\nend")
    assert not matches("7 bytes", "7 bits")
    (step,) = steps("```console\n$ a \\\n> b # status 3\nshown\nmore\n```\n")
    assert (step.command, step.shown, step.status) == ("a \\\nb # status 3", "shown\nmore", 3)
