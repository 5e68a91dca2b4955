"""What the doctor says of the ways in: the modes of sockets and of token files."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Final

from farpeek.doctor.findings import Cure, Finding, Verdict
from farpeek_api.gate.tokens import TokenError, read_tokens
from farpeek_api.serving.listeners import default_socket_path

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_OTHERS_WRITE: Final = 0o022
_SOCKET: Final = "socket"


def doors(socket: Path | None, token_file: Path | None) -> Iterator[Finding]:
    """Tell of a socket, by default where clients look, and of a file of tokens, if there is one."""
    yield _socket(socket or default_socket_path())
    if token_file is not None:
        yield _token_file(token_file)


def _socket(path: Path) -> Finding:
    try:
        found, folder = path.lstat(), path.parent.stat()
    except PermissionError:
        return _shut(f"{path.parent} cannot be passed by this user")
    except OSError:
        return _not_there(path)
    if not stat.S_ISSOCK(found.st_mode):
        return _no_socket(path)
    if folder.st_mode & _OTHERS_WRITE and not folder.st_mode & stat.S_ISVTX:
        return _open_folder(path.parent)
    if not os.access(path, os.W_OK):
        return _shut(f"{path} is {_shown(found)}, and this user may not connect")
    return Finding(
        _SOCKET, Verdict.FINE, f"{path} is {_shown(found)}, in a {_shown(folder)} folder"
    )


def _shown(status: os.stat_result) -> str:
    return f"{stat.S_IMODE(status.st_mode):04o} {status.st_uid}:{status.st_gid}"


def _not_there(path: Path) -> Finding:
    cure = Cure(
        host="farpeek serve, or systemctl start farpeek.socket",
        docker="the folder of the service's socket as a --volume of both containers",
        kubernetes="an emptyDir that both containers mount",
    )
    here = f"{path} is not there"
    return Finding(_SOCKET, Verdict.NOTE, here, "no service listens where clients look", cure)


def _shut(here: str) -> Finding:
    cure = Cure(
        host="farpeek serve --socket-group GROUP, and this user in it; others need a token, too",
        docker="the same user, or --socket-group with --group-add GROUP",
        kubernetes="the same runAsUser, or --socket-group with fsGroup",
    )
    return Finding(_SOCKET, Verdict.LIMITS, here, "this user cannot connect", cure)


def _no_socket(path: Path) -> Finding:
    effect = "the service does not start with it"
    cure = Cure(host=f"remove {path}, or --listen at another path")
    return Finding(_SOCKET, Verdict.LIMITS, f"{path} is no socket", effect, cure)


def _open_folder(folder: Path) -> Finding:
    cure = Cure(
        host=f"chmod go-w {folder}",
        docker="a folder below it, which farpeek makes",
        kubernetes="a folder below the emptyDir, which farpeek makes",
    )
    effect = "the service does not start with it: others could put a socket of theirs there"
    return Finding(_SOCKET, Verdict.LIMITS, f"others can write in {folder}", effect, cure)


def _token_file(path: Path) -> Finding:
    try:
        read_tokens(path)
    except TokenError as error:
        cure = Cure(
            host=f"chmod 0600 {path}, and chown it to the service's user",
            docker="the same, with the uid that the container has",
            kubernetes="a Secret with defaultMode: 0440 and fsGroup",
        )
        effect = "nobody gets in by its tokens"
        return Finding("token file", Verdict.LIMITS, str(error), effect, cure)
    return Finding("token file", Verdict.FINE, f"{path} is {_shown(path.stat())}")
