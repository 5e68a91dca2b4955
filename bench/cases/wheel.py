"""What `pip install farpeek` brings: the size of its wheel, and how long parts take to import."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import zipfile
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from bench.framework import Case, Comparison, Prepared, Skipped

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.framework import Figures, Side

CPU, SIZE_KIB = "CPU", "size"
_WHEEL, _CODE = "the wheel", "without Swagger UI"
_ROOT = Path(__file__).resolve().parents[2]
_COUNT = 5

_PARTS = {
    "import farpeek_api.client": "import httpx2",
    "import farpeek": "pass",
    "import farpeek_api.serving.server": "import aiohttp.web, pydantic, prometheus_client, uvloop",
}
"""Each beside what it cannot do without."""


@contextmanager
def _prepare_size() -> Iterator[Prepared]:
    with tempfile.TemporaryDirectory(prefix="farpeek-bench-") as folder:
        command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
        done = subprocess.run(
            [*command, "--wheel-dir", folder, _ROOT], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise Skipped("pip builds no wheel here")
        (wheel,) = Path(folder).glob("*.whl")
        size = wheel.stat().st_size
        with zipfile.ZipFile(wheel) as archive:
            page = sum(
                each.compress_size for each in archive.infolist() if "swagger-ui" in each.filename
            )
        sides: dict[str, Side] = {
            _WHEEL: partial(_shown, size),
            _CODE: partial(_shown, size - page),
        }
        yield Prepared(
            sides, [Comparison(SIZE_KIB, "KiB", _WHEEL, _CODE, at_most=1024, result="figure")]
        )


def _shown(size: int) -> Figures:
    return {SIZE_KIB: size / 1024}


@contextmanager
def _prepare_imports() -> Iterator[Prepared]:
    lines = [*_PARTS, *_PARTS.values()]
    yield Prepared(
        {line: partial(_import, line) for line in dict.fromkeys(lines)},
        [Comparison(CPU, "ms", part, floor) for part, floor in _PARTS.items()],
    )


def _import(line: str) -> Figures:
    environment = {**os.environ}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # nobody compiles each time
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    for _ in range(_COUNT):
        subprocess.run([sys.executable, "-c", line], check=True, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {CPU: used / _COUNT * 1000}


SIZE = Case("wheel-size", "what pip downloads of farpeek itself", _prepare_size, rounds=1)
IMPORTS = Case(
    "imports", "starting Python and importing a part, beside what it imports", _prepare_imports
)
