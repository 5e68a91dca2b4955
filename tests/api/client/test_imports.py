"""The client is light: it brings nothing of the server."""

from __future__ import annotations

import subprocess
import sys

_PROGRAM = """
import sys
import farpeek_api.client
ours = {name for name in sys.modules if name.partition(".")[0] in ("farpeek", "farpeek_api")}
others = {"pydantic", "pydantic_core", "aiohttp", "uvloop", "prometheus_client", "zstandard"}
print(sorted(name for name in ours if not name.startswith("farpeek_api.client")))
print(sorted(others & sys.modules.keys()))
"""


def test_importing_the_client_imports_nothing_of_the_server() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM], check=True, capture_output=True, text=True
    )
    assert done.stdout.splitlines() == ["['farpeek_api']", "[]"]
