"""Which files an audit takes, and what it says of those that it does not."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from support.audits import done_in, left_in, lines_in, verified
from support.sample import Sample
from support.serving import environment_for_a_service
from support.wire import Served

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def refusal(folder: Path, audit: Path | str, *flags: str) -> str:
    """Start a service that has to refuse; what it says."""
    command = [sys.executable, "-m", "farpeek_api", "serve", "--audit", str(audit)]
    done = subprocess.run(
        [*command, "--listen", f"unix:{folder / 'refused.sock'}", *flags],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=environment_for_a_service(),
    )
    assert done.returncode == 2, done
    assert "Traceback" not in done.stderr
    return done.stderr


def test_a_new_file_is_its_owners_alone(folder: Path) -> None:
    path = folder / "audit"
    old = os.umask(0)
    try:
        with Served(folder, "--audit", str(path)):
            assert path.stat().st_mode & 0o777 == 0o600
    finally:
        os.umask(old)


def test_a_start_goes_on_from_the_last_line_and_says_so(folder: Path) -> None:
    path = folder / "audit"
    for _ in range(3):
        with Served(folder, "--audit", str(path)) as service:
            service.request("GET", "/v1/info")
            assert service.stop() == 0
    lines = lines_in(path.read_text())
    starts = [line["goes_on_from"] for line in lines if line.get("event") == "start"]
    assert starts == [None, {"seq": 3, "cut": False}, {"seq": 6, "cut": False}]
    found = verified(path)
    assert (found["whole"], found["lines"], found["notes"]) == (True, 9, [])


def test_none_leaves_no_line_and_stderr_leaves_all(folder: Path) -> None:
    with Served(folder, "--audit", "none", "--allow-writes") as service:
        service.request("POST", "/v1/targets/1-1/writev", {})
        assert service.stop() == 0
        assert lines_in(service.log) == []
    with Served(folder, "--audit", "stderr") as service:
        service.request("GET", "/v1/info")
        assert service.stop() == 0
        assert [line["verb"] for line in done_in(service.log)] == ["inspect"]


def test_by_default_writes_alone_leave_lines_on_stderr(folder: Path) -> None:
    with Sample() as process, Served(folder, "--allow-writes") as service:
        target = service.register(process.pid)
        service.read(target, process.address, 8)
        body = {"addresses": [process.address], "data": ["AA=="]}
        service.request("POST", f"/v1/targets/{target}/writev", body)
        wrong = {"Authorization": "Bearer nonsense"}
        service.request("POST", f"/v1/targets/{target}/writev", body, wrong)
        assert service.stop() == 0
        found = [(line["verb"], line["outcome"]) for line in done_in(service.log)]
        assert found == [("write", "done"), ("write", "unauthenticated")]


def bind(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


def give_away(path: Path) -> None:
    path.touch()
    os.chown(path, 4242, 4242)


def let_all_write(path: Path) -> None:
    path.touch()
    path.chmod(0o666)


def let_all_replace(path: Path) -> None:
    path.parent.chmod(0o777)


ODD: dict[str, Callable[[Path], object]] = {
    "fifo": os.mkfifo,
    "folder": lambda path: path.mkdir(),
    "link": lambda path: path.symlink_to("/nowhere"),
    "socket": bind,
    "device": lambda path: os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 7)),
    "other": give_away,
    "open": let_all_write,
    "text": lambda path: path.write_text("dear diary\n"),
    "absent": lambda path: path.parent.rmdir(),
    "shared": let_all_replace,
}
"""What makes of a path something that no audit is written to."""


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("fifo", "is a fifo: name a file"),
        ("folder", "is a folder: name a file"),
        ("link", "is a symbolic link: name a file"),
        ("socket", "is a socket: name a file"),
        ("device", "is a device: name a file"),
        ("other", "belongs to user 4242"),
        ("open", "others may write to"),
        ("text", "holds something else than an audit"),
        ("absent", "its folder is not there: make it"),
        ("shared", "chmod o-w its folder"),
    ],
)
def test_what_is_no_file_of_its_own_is_refused_with_the_cure(
    folder: Path, kind: str, said: str
) -> None:
    path = folder / "own" / "audit"
    path.parent.mkdir()
    ODD[kind](path)
    was = path.lstat() if os.path.lexists(path) else None
    text = refusal(folder, path)
    assert text.startswith("farpeek serve: --audit: ")
    assert said in text
    assert str(path) in text
    assert text.count("\n") == 1
    if was is not None:
        assert path.lstat().st_size == was.st_size


def test_a_folder_where_it_may_not_write_is_refused_with_the_cure(folder: Path) -> None:
    closed = folder / "closed"
    closed.mkdir(0o711)
    user = 4242
    runs = folder / "runs"
    runs.mkdir()
    with pytest.raises(AssertionError, match="user 4242 may not write there: chown its folder"):
        Served(runs, "--audit", str(closed / "audit"), uid=user).end()


def test_two_services_do_not_write_to_one_file(folder: Path) -> None:
    path = folder / "audit"
    with Served(folder, "--audit", str(path)):
        assert "another service writes to" in refusal(folder, path)
    assert verified(path)["lines"] == 1


def test_a_service_that_starts_while_another_one_stops_waits_for_the_file(folder: Path) -> None:
    path = folder / "audit"
    (folder / "a").mkdir()
    (folder / "b").mkdir()
    with Served(folder / "a", "--audit", str(path)) as first:
        first.process.terminate()
        with Served(folder / "b", "--audit", str(path)) as second:
            assert second.stop() == 0
    assert verified(path)["notes"] == []


def test_what_a_process_calls_itself_does_nothing_to_the_file(folder: Path) -> None:
    name = 'a"\n\x1b[2J'
    code = f"""
import ctypes, sys
ctypes.CDLL(None).prctl(15, {name.encode()!r} + b"\\xff")
print(flush=True)
sys.stdin.read()
"""
    path = folder / "audit"
    with (
        subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as process,
        Served(folder, "--audit", str(path)) as service,
    ):
        assert process.stdout is not None
        process.stdout.readline()
        service.register(process.pid)
        (line,) = left_in(path, lambda line: line.get("verb") == "register")
        process.kill()
        assert line["target"]["comm"] == name + "\\xff"
    assert all(byte == 0x0A or 0x20 <= byte < 0x7F for byte in path.read_bytes())
