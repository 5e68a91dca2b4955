"""The page's modules without a browser: their own tests in node, and their types."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

_HERE = Path(__file__).resolve().parent
_TSC = _HERE.parents[1] / "build" / "npm" / "node_modules" / "typescript" / "bin" / "tsc"

needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="there is no node")


def _run(*arguments: object) -> None:
    done = subprocess.run(
        ["node", *map(str, arguments)], cwd=_HERE, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]


@needs_node
def test_the_modules_do_what_their_tests_say() -> None:
    _run("--test", *sorted(_HERE.glob("*.test.mjs")))


@needs_node
@pytest.mark.skipif(not _TSC.exists(), reason="there is no TypeScript; `make page-tools` has it")
def test_the_types_of_the_page_fit() -> None:
    _run(_TSC, "-p", _HERE)
