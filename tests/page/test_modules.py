"""The page's modules without a browser: their own tests in node, and their types."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

_HERE = Path(__file__).resolve().parent
_ROOT = _HERE.parents[1]
_TOOLS = _ROOT / "build" / "npm" / "node_modules"
_TSC = _TOOLS / "typescript" / "bin" / "tsc"
_ESLINT = _TOOLS / "eslint" / "bin" / "eslint.js"

needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="there is no node")


def _run(*arguments: object, folder: Path = _HERE) -> None:
    done = subprocess.run(
        ["node", *map(str, arguments)], cwd=folder, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]


@needs_node
def test_the_modules_do_what_their_tests_say() -> None:
    _run("--test", *sorted(_HERE.glob("*.test.mjs")))


@needs_node
@pytest.mark.skipif(not _TSC.exists(), reason="there is no TypeScript; `make page-tools` has it")
def test_the_types_of_the_page_fit() -> None:
    _run(_TSC, "-p", _HERE)


@needs_node
@pytest.mark.skipif(not _ESLINT.exists(), reason="there is no ESLint; `make page-tools` has it")
def test_the_page_and_its_tests_are_as_eslint_wants_them() -> None:
    _run(_ESLINT, "--max-warnings", 0, "-c", _HERE / "eslint.config.mjs", ".", folder=_ROOT)
