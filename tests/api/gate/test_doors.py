"""What the doctor says of sockets and token files: each finding made true, and its cure applied."""

from __future__ import annotations

import os
import shlex
import socket
import subprocess
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from farpeek_api.gate import doors
from support.doctoring import FARPEEK, NOBODY, as_user, findings, makers
from support.folders import open_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.doctoring import Command

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")

Cure = dict[str, str]


@dataclass(frozen=True, slots=True)
class Row:
    """A finding: who makes it, how it is made true, how its cure is applied, and for whom."""

    made_by: str
    verdict: str
    gate: str
    true: Callable[[Path], None]
    cure: Callable[[Cure, Path], None]
    whose: Command = FARPEEK


def _listen(folder: Path, mode: int = 0o600) -> None:
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as made:
        made.bind(str(folder / "x.sock"))
    (folder / "x.sock").chmod(mode)


def _token(mode: int) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / "token").write_text("abcdefghijklmnopqrstuvwxyz\n")
        (folder / "token").chmod(mode)

    return write


def _typed(cure: Cure, _: Path) -> None:
    """Type the command that the cure begins with."""
    command = shlex.split(cure["host"].partition(",")[0])
    subprocess.run(command, check=True, timeout=60)


def _group(cure: Cure, folder: Path) -> None:
    """What `--socket-group` does, for the group of the one who asks."""
    assert "--socket-group" in cure["host"]
    os.chown(folder / "x.sock", 0, NOBODY)
    (folder / "x.sock").chmod(0o660)
    os.chown(folder, 0, NOBODY)
    folder.chmod(0o710)


def _in_the_way(folder: Path) -> None:
    (folder / "x.sock").write_text("")


def _removed(cure: Cure, folder: Path) -> None:
    assert cure["host"].startswith(f"remove {folder}/x.sock")
    (folder / "x.sock").unlink()
    _listen(folder)


def _open_to_all(folder: Path) -> None:
    _listen(folder)
    folder.chmod(0o777)


def _shut(folder: Path) -> None:
    _listen(folder)
    folder.chmod(0o700)


def _served(cure: Cure, folder: Path) -> None:
    assert "farpeek serve" in cure["host"]
    _listen(folder)


ROWS = (
    Row("doors._not_there", "note", "socket", lambda _: None, _served),
    Row("doors._shut", "limits", "socket", _shut, _group, as_user()),
    Row("doors._shut", "limits", "socket", _listen, _group, as_user()),
    Row("doors._no_socket", "limits", "socket", _in_the_way, _removed),
    Row("doors._open_folder", "limits", "socket", _open_to_all, _typed),
    Row("doors._token_file", "limits", "token file", _token(0o644), _typed),
    Row("doors._token_file", "limits", "token file", _token(0o660), _typed),
)


@pytest.fixture
def folder() -> Iterator[Path]:
    with open_folder() as made:
        yield made


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.made_by} {row.true.__name__}")
def test_a_finding_is_there_and_gone_once_its_cure_is_applied(row: Row, folder: Path) -> None:
    row.true(folder)
    looked_at = ("--socket", folder / "x.sock", "--token-file", folder / "token")
    found = findings(row.whose, *looked_at)[row.gate]
    assert found["verdict"] == row.verdict, found
    row.cure(found["cure"], folder)
    cured = findings(row.whose, *looked_at)[row.gate]
    assert cured["verdict"] == "fine", cured


def test_every_finding_has_a_row() -> None:
    assert makers(Path(doors.__file__)) == {(row.made_by, row.verdict) for row in ROWS}


def test_no_token_is_told(folder: Path) -> None:
    (folder / "token").write_text("secret-and-of-no-use!\n")
    (folder / "token").chmod(0o600)
    found = findings(FARPEEK, "--token-file", folder / "token")["token file"]
    assert found["verdict"] == "limits"
    assert "secret" not in str(found)
