"""`farpeek audit verify`, as people and scripts see it."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

from farpeek_api.audit import chain
from farpeek_api.audit.lines import Lines

if TYPE_CHECKING:
    from pathlib import Path


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "farpeek_api", "audit", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def write(path: Path) -> list[bytes]:
    lines = Lines(chain.FIRST)
    text = [lines.start(None, is_cut=False), *(lines.note(chain.STOP, {}) for _ in range(4))]
    path.write_bytes(b"".join(text))
    return text


def test_a_whole_chain_is_status_0_and_tells_the_hash_to_keep(tmp_path: Path) -> None:
    path = tmp_path / "audit"
    last = chain.digest(write(path)[-1][:-1])
    done = run("verify", path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"the chain is whole: 5 lines, the last of them 5, {last}\n"
    assert run("verify", "--last", last, path).returncode == 0


def test_a_broken_one_is_status_1_and_names_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "au\x1bdit"
    text = write(path)
    path.write_bytes(b"".join([*text[:2], *text[3:]]))
    done = run("verify", path)
    assert done.returncode == 1
    assert f"broken: {tmp_path}/au\\x1bdit:3: 1 lines are missing before this one\n" in done.stdout
    assert "the chain is broken: 4 lines" in done.stdout
    shown = json.loads(run("verify", "--json", path).stdout)
    assert (shown["whole"], shown["breaks"][0]["line"]) == (False, 3)


def test_a_hash_that_is_not_there_is_status_1(tmp_path: Path) -> None:
    path = tmp_path / "audit"
    write(path)
    done = run("verify", path, "--last", "0" * 64)
    assert done.returncode == 1
    assert "no line has the hash that was kept" in done.stdout


def test_what_cannot_be_read_is_status_2(tmp_path: Path) -> None:
    (tmp_path / "a.gz").write_bytes(b"\x1f\x8b\x08\x00")
    for path in (tmp_path / "absent", tmp_path, tmp_path / "a.gz"):
        done = run("verify", path)
        assert done.returncode == 2
        assert done.stderr.startswith("farpeek audit: ")
        assert "Traceback" not in done.stderr
        assert done.stderr.count("\n") == 1
    assert run("verify").returncode == run("prove", tmp_path).returncode == 2
