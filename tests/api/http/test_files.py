"""Files behind mappings: the very bytes, in ranges as HTTP has them, and never one that hangs."""

from __future__ import annotations

import http.client
import os
import shutil
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import pytest

from support.kinds import FuseServer
from support.reading import proc_mem
from support.serving import Reply, UnixConnection
from support.targets import Target, build, start
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.wire import Served

_MAPPING = """
import ctypes, mmap, os, sys
path, length = sys.argv[1], int(sys.argv[2])
descriptor = os.open(path, os.O_RDWR)
held = mmap.mmap(descriptor, length, mmap.MAP_PRIVATE)
print(ctypes.addressof(ctypes.c_char.from_buffer(held)), flush=True)
sys.stdin.read()
"""


@contextmanager
def _mapping(path: Path | str, length: int, *before: str) -> Iterator[tuple[int, int]]:
    """A process that maps a file; its number, and where."""
    with subprocess.Popen(
        [*before, sys.executable, "-c", _MAPPING, str(path), str(length)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            yield process.pid, int(process.stdout.readline())
        finally:
            process.kill()


class _FileOf:
    """The file behind an address of a process."""

    def __init__(self, served: Served, pid: int, address: int) -> None:
        self._served = served
        self.path = f"/v1/targets/{served.register(pid)}/file?address={address:#x}"

    def get(self, method: str = "GET", **headers: str) -> Reply:
        shown = {name.replace("_", "-"): value for name, value in headers.items()}
        return self._served.request(method, self.path, headers=shown)


@pytest.fixture
def numbered(tmp_path: Path) -> Path:
    """A file of three megabytes and a bit, of which no two places are alike."""
    path = tmp_path / "numbered"
    path.write_bytes(b"".join(b"%08x" % at for at in range(400_001)))
    return path


def test_a_file_is_given_whole_with_what_it_is(served: Served, numbered: Path) -> None:
    with _mapping(numbered, 4096) as (pid, address):
        reply = _FileOf(served, pid, address).get()
        status = numbered.stat()
        assert (reply.status, reply.body) == (200, numbered.read_bytes())
        assert reply.headers["farpeek-file-inode"] == str(status.st_ino)
        assert reply.headers["farpeek-generation"] == "1"
        assert reply.headers["accept-ranges"] == "bytes"
        assert "farpeek-build-id" not in reply.headers
        maps = f"/v1/targets/{served.register(pid)}/maps?address={address:#x}"
        mapped = served.request("GET", maps).json
        assert reply.headers["farpeek-file-device"] == mapped["mappings"][0]["device"]


def test_ranges_are_those_of_http(served: Served, numbered: Path) -> None:
    content, size = numbered.read_bytes(), numbered.stat().st_size
    with _mapping(numbered, 4096) as (pid, address):
        file = _FileOf(served, pid, address)
        for wanted, start_at, end in (
            ("bytes=0-0", 0, 1),
            ("bytes=5-2000004", 5, 2000005),
            (f"bytes={size - 3}-", size - 3, size),
            ("bytes=-7", size - 7, size),
            (f"bytes=9-{size * 10}", 9, size),
        ):
            reply = file.get(Range=wanted)
            assert (reply.status, reply.body) == (206, content[start_at:end]), wanted
            assert reply.headers["content-range"] == f"bytes {start_at}-{end - 1}/{size}"
        beyond = file.get(Range=f"bytes={size}-")
        assert (beyond.status, beyond.slug) == (416, "range-beyond")
        assert beyond.headers["content-range"] == f"bytes */{size}"
        for odd in ("bytes=1-2,5-6", "lines=1-2", "bytes=b-", "bytes=7-3"):
            refused = file.get(Range=odd)
            assert (refused.status, refused.slug) == (400, "malformed"), odd
            assert "bytes=FIRST-LAST" in refused.json["hint"]


def test_what_the_client_has_still_is_not_sent_again(served: Served, numbered: Path) -> None:
    with _mapping(numbered, 4096) as (pid, address):
        file = _FileOf(served, pid, address)
        head = file.get("HEAD")
        assert (head.status, head.body) == (200, b"")
        assert head.headers["content-length"] == str(numbered.stat().st_size)
        tag = head.headers["etag"]
        assert file.get(If_None_Match=tag).status == 304
        assert file.get(If_Range=tag, Range="bytes=8-15").body == b"00000001"
        with numbered.open("r+b") as changed:
            changed.write(b"another!")
        assert file.get(If_None_Match=tag).body[:8] == b"another!"
        whole = file.get(If_Range=tag, Range="bytes=8-15")
        assert (whole.status, len(whole.body)) == (200, numbered.stat().st_size)


def test_an_executable_that_was_deleted_is_there_still(served: Served, tmp_path: Path) -> None:
    program = tmp_path / "program"
    shutil.copy(build("plain"), program)
    content = program.read_bytes()
    with Target("plain", program=program) as target:
        path = f"/v1/targets/{served.register(target.pid)}"
        entry = served.request("GET", f"{path}/auxv").json["auxv"]["AT_ENTRY"]
        shown = served.request("GET", f"{path}/maps?address={entry}").json["mappings"][0]
        program.unlink()
        reply = served.request("GET", f"{path}/file?address={entry}")
        assert (reply.status, reply.body) == (200, content)
        assert reply.headers["farpeek-build-id"] == shown["build_id"]


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_a_file_of_another_mount_namespace_is_that_one(served: Served, tmp_path: Path) -> None:
    path = tmp_path / "here" / "file"
    path.parent.mkdir()
    path.write_bytes(b"of this namespace")
    script = (
        f"mount -t tmpfs none {path.parent} && printf 'of the container' > {path} && exec \"$@\""
    )
    inside = ("unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh")
    with _mapping(path, 16, *inside) as (pid, address):
        assert _FileOf(served, pid, address).get().body == b"of the container"


def test_the_kernels_own_image_is_answered_from_memory(served: Served) -> None:
    with start("plain") as target:
        path = f"/v1/targets/{served.register(target.pid)}"
        found = served.request("GET", f"{path}/auxv").json["auxv"]["AT_SYSINFO_EHDR"]
        reply = served.request("GET", f"{path}/file?address={found}")
        assert reply.status == 200
        assert reply.body == proc_mem(target.pid, int(found, 16), len(reply.body))
        assert reply.body[:4] == b"\x7fELF"
        shown = served.request("GET", f"{path}/maps?address={found}").json["mappings"][0]
        assert reply.headers["farpeek-build-id"] == shown["build_id"]
        assert len(reply.body) == int(shown["end"], 16) - int(shown["start"], 16)


def test_what_is_no_file_is_said_to_be_none(served: Served) -> None:
    with start("plain") as target:
        path = f"/v1/targets/{served.register(target.pid)}"
        stack = served.request("GET", f"{path}/auxv").json["auxv"]["AT_RANDOM"]
        for address, cause in (("0x1000", "nothing is mapped"), (stack, "is no file")):
            reply = served.request("GET", f"{path}/file?address={address}")
            assert (reply.status, reply.slug) == (404, "no-file")
            assert cause in reply.json["detail"]
        for address in ("", "here", "0x1ffffffffffffffff"):
            reply = served.request("GET", f"{path}/file?address={address}")
            assert (reply.status, reply.places) == (422, ["address"])
        missing = served.request("GET", f"{path}/file")
        assert (missing.status, missing.places) == (422, ["address"])


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_a_file_whose_server_could_hang_is_never_opened(served: Served, tmp_path: Path) -> None:
    mountpoint = tmp_path / "fuse"
    mountpoint.mkdir()
    with ExitStack() as stack:
        server = stack.enter_context(FuseServer(mountpoint))
        served_there = f"/proc/{server.target.pid}/root{mountpoint}/file0"
        pid, address = stack.enter_context(_mapping(served_there, 4096))
        file = _FileOf(served, pid, address)
        server.hang(0, everything=True)
        server.forget()
        try:
            reply = file.get()
            assert (reply.status, reply.slug) == (409, "file-remote")
            assert "could hang" in reply.json["detail"]
            assert server.asked(0) == 0
        finally:
            server.serve(0)


def test_a_device_is_not_opened(served: Served) -> None:
    with _mapping("/dev/zero", 4096) as (pid, address):
        reply = _FileOf(served, pid, address).get()
        assert (reply.status, reply.slug) == (409, "file-remote")
        assert "device" in reply.json["detail"]


def test_a_file_that_becomes_shorter_ends_its_answer_early(served: Served, tmp_path: Path) -> None:
    path = tmp_path / "large"
    with path.open("wb") as large:
        large.truncate(256 << 20)
    with _mapping(path, 4096) as (pid, address):
        file = _FileOf(served, pid, address)
        connection = UnixConnection(served.path)
        connection.request("GET", file.path)
        answer = connection.getresponse()
        assert len(answer.read(1 << 20)) == 1 << 20
        os.truncate(path, 4096)
        with pytest.raises(http.client.IncompleteRead):
            answer.read()
        connection.close()


def test_a_client_that_leaves_takes_nothing_with_it(served: Served, tmp_path: Path) -> None:
    path = tmp_path / "large"
    with path.open("wb") as large:
        large.truncate(256 << 20)
    with _mapping(path, 4096) as (pid, address):
        file = _FileOf(served, pid, address)
        for _ in range(8):
            connection = UnixConnection(served.path)
            connection.request("GET", file.path)
            connection.getresponse().read(1 << 16)
            connection.close()
        until(
            lambda: served.request("GET", "/v1/info").json["held_bytes"] == 0,
            "all bytes are given back",
        )
        assert file.get(Range="bytes=0-9").body == bytes(10)
