"""Commands on programs that nobody wrote for tests: Perl and Node, as Debian has them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from farpeek_api.cli import statuses
from support.commands import run
from support.ending import end_process
from support.waiting import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KEPT = "card 4242-4242-4242"
NODE = """
globalThis.kept = Buffer.from(process.argv.slice(1).join(' '));
process.stdin.once('data', () => process.exit(5));
console.log('ready');
"""
PERL = 'my $kept = join " ", @ARGV; $| = 1; print "ready\\n"; <STDIN>; exit 5'
PROGRAMS = {"perl": ["-e", PERL, "card"], "node": ["-e", NODE, "card"]}


@pytest.fixture(params=PROGRAMS)
def program(request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[bytes]]:
    path = shutil.which(request.param)
    if path is None:
        pytest.skip(f"there is no {request.param} here")
    # In parts, so that its command line does not have it as a whole.
    process = subprocess.Popen(
        [path, *PROGRAMS[request.param], KEPT.removeprefix("card ")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield process
    finally:
        end_process(process)


def test_a_text_in_a_program_is_found_read_watched_and_its_end_is_told(
    program: subprocess.Popen[bytes], folder: Path
) -> None:
    assert run("dump", program.pid, "-o", folder).status == statuses.DONE
    places = [
        int(each.name.split("-")[0], 16) + found.start()
        for each in folder.iterdir()
        for found in re.finditer(KEPT.encode(), each.read_bytes())
    ]
    assert places
    ran = run("read", program.pid, hex(places[0]), len(KEPT), "--format", "raw")
    assert ran.output == KEPT.encode()
    words = ["watch", program.pid, hex(places[0]), len(KEPT), "--ticks", 2, "--hz", 50, "--json"]
    change, *_, sums = map(json.loads, run(*words).lines)
    assert bytes.fromhex(change["data"]) == KEPT.encode()
    assert sums["ticks"] == sums["read"] + sums["dropped"]
    assert program.stdin is not None
    program.stdin.write(b"\n")
    program.stdin.close()
    program.wait(PATIENCE_S)
    assert "has exited with status 5" in run("wait", change["target"]).text
