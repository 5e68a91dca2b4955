"""A client command is light: it brings nothing of the server, nor what another command needs."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

_PROGRAM = """
import sys
from farpeek_api.__main__ import main
status = main(sys.argv[1:])
ours = {name for name in sys.modules if name.startswith("farpeek")}
allowed = ("farpeek_api.cli", "farpeek_api.client", "farpeek_api.__main__", "farpeek_api.output")
server = [each for each in ours - {"farpeek", "farpeek_api"} if not each.startswith(allowed)]
heavy = {"pydantic", "aiohttp", "uvloop", "prometheus_client", "zstandard", "asyncio", "wsproto"}
commands = [each for each in ours if each.startswith("farpeek_api.cli.commands.")]
print("\\n", status, sorted(server), sorted(heavy & sys.modules.keys()), sorted(commands))
"""


@pytest.mark.parametrize("words", [["read", str(os.getpid()), "[stack]", "16"], ["targets"]])
def test_a_command_imports_what_it_needs_and_no_more(words: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, *words], check=True, capture_output=True, text=True
    )
    shown = done.stdout.splitlines()[-1].strip()
    assert shown == f"0 [] [] ['farpeek_api.cli.commands.{words[0]}']"


@pytest.mark.parametrize("words", [["--version"], ["--help"]])
def test_what_concerns_no_command_imports_no_client(words: list[str]) -> None:
    program = (
        "import sys, atexit\n"
        "from farpeek_api.__main__ import main\n"
        "atexit.register(lambda: print(sorted({'httpcore2', 'difflib'} & {*sys.modules})))\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *words], check=True, capture_output=True, text=True
    )
    assert done.stdout.splitlines()[-1] == "[]"
