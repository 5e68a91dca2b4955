"""Mount tables: every name that a mount can have, kept while they are true, and no longer."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farpeek.mappings import local, mounts
from farpeek.mappings.local import Surroundings
from farpeek.mappings.mounts import INIT, KEPT_FOR_S, Mount, MountTable, MountTables, parse_line

if TYPE_CHECKING:
    from collections.abc import Iterator

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")


def _as_the_kernel_escapes(name: bytes) -> bytes:
    """mangle() of fs/proc_namespace.c."""
    return b"".join(b"\\%03o" % byte if byte in b" \t\n\\#" else bytes([byte]) for byte in name)


names = st.binary(min_size=1, max_size=30).map(lambda name: b"/" + name.replace(b"\0", b""))


@given(names, names)
def test_every_name_of_a_mount_reads_as_it_is(point: bytes, source: bytes) -> None:
    line = b"36 35 98:0 / %b rw,noatime master:1 - ext4 %b rw,errors=continue\n" % (
        _as_the_kernel_escapes(point),
        _as_the_kernel_escapes(source),
    )
    mount = parse_line(line)
    assert (mount.number, mount.device, mount.filesystem) == (36, (98, 0), "ext4")
    assert (mount.point, mount.source) == (point, source)
    assert mount.options == (b"rw", b"errors=continue")


@given(st.lists(names, max_size=5))
def test_every_mount_above_a_path_is_on_the_way_to_it(points: list[bytes]) -> None:
    table = MountTable(
        [Mount(n, (0, n), point, "tmpfs", b"", ()) for n, point in enumerate(points)]
    )
    for point in points:
        path = point.rstrip(b"/") + b"/below/it"
        way = {mount.point for mount in table.on_the_way(path)}
        assert way == {each for each in points if path.startswith(each.rstrip(b"/") + b"/")}


@pytest.fixture
def tables() -> Iterator[MountTables]:
    made = MountTables()
    yield made
    made.forget()


@needs_root
def test_a_table_is_kept_until_something_is_mounted(tables: MountTables, tmp_path: Path) -> None:
    first = tables.of("/proc/self")
    assert tables.of(f"/proc/{os.getpid()}") is first
    assert tables.are_true([first])
    subprocess.run(["mount", "-t", "tmpfs", "none", tmp_path], check=True)
    try:
        assert not tables.are_true([first])
        second = tables.of("/proc/self")
        assert any(mount.filesystem == "tmpfs" for mount in second.at(os.fsencode(tmp_path)))
    finally:
        subprocess.run(["umount", tmp_path], check=True)
    assert not tables.are_true([second])
    assert not tables.of("/proc/self").at(os.fsencode(tmp_path))


def test_few_tables_are_kept_and_none_for_long(tables: MountTables) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        tables.of("/proc/self")
        tables.of(INIT)
    assert len(tables) <= 2
    tables.forget(KEPT_FOR_S)
    assert len(tables) <= 2
    tables.forget()
    assert len(tables) == 0
    assert len(list(Path("/proc/self/fd").iterdir())) <= before


def test_a_table_that_may_not_be_seen_is_empty(tables: MountTables) -> None:
    assert len(tables.of("/proc/0")) == 0


_LINES = {
    "own": [
        b"1 0 8:1 / / rw - ext4 /dev/sda1 rw",
        b"2 1 0:50 / /remote rw - fuse.sshfs a:b rw",
        b"3 1 0:51 / /memory rw - tmpfs none rw",
        b"4 1 0:60 / /both rw - overlay o rw,lowerdir=/a:/b,upperdir=/memory/u",
        b"5 1 0:61 / /far rw - overlay o rw,lowerdir=/a:/remote/x,upperdir=/memory/u",
        b"6 1 0:62 / /relative rw - overlay o rw,lowerdir=one",
        b"7 1 0:63 / /colon rw - overlay o rw,lowerdir=/one\\134:/remote/x",
        b"8 1 0:64 / /far-escaped rw - overlay o rw,lowerdir=/one:/remote/a\\134:b",
        b"9 1 0:65 / /new rw - overlay o rw,lowerdir+=/one,datadir+=/remote/x",
        b"10 1 0:66 / /nothing rw - overlay o rw",
        b"11 1 0:67 / /deep rw - overlay o rw,lowerdir=/far/x",
        b"12 1 0:68 / /itself rw - overlay o rw,lowerdir=/itself/x",
        b"13 1 0:70 / /file rw - erofs /memory/image rw",
        b"14 1 0:71 / /far-file rw - erofs /remote/image rw",
        b"15 1 8:2 / /fuse-block rw - fuseblk /dev/sda2 rw",
        b"16 3 0:52 / /memory/covered rw - tmpfs none rw",
        b"17 3 0:50 / /memory/covered rw - fuse.sshfs a:b rw",
        b"18 1 0:72 / /over-covered rw - overlay o rw,lowerdir=/memory/covered/x",
    ],
    "target": [
        b"30 0 0:80 / / rw - overlay o rw,lowerdir=/one",
        b"31 0 0:81 / /own rw - tmpfs none rw",
        b"32 0 0:82 / /mine rw - overlay o rw,lowerdir=/own/x",
        b"33 0 0:60 / /shared rw - overlay o rw,lowerdir=/remote/x",
    ],
}
_LOCAL = {
    (8, 1): True,
    (0, 50): False,
    (0, 51): True,
    (0, 60): True,  # also as the target shows it
    (0, 61): False,
    (0, 62): False,
    (0, 63): True,
    (0, 64): False,
    (0, 65): False,
    (0, 66): False,
    (0, 67): False,
    (0, 68): False,
    (0, 70): True,
    (0, 71): False,
    (8, 2): False,
    (0, 72): False,
    (0, 80): False,  # out of sight
    (0, 81): True,
    (0, 82): False,  # nobody else can say what was there when it was mounted
    (0, 99): None,
}


@pytest.mark.parametrize("device", _LOCAL, ids=lambda device: f"{device[0]}:{device[1]}")
def test_a_filesystem_is_as_local_as_what_it_stands_on(
    monkeypatch: pytest.MonkeyPatch, device: tuple[int, int]
) -> None:
    made = {name: MountTable([*map(parse_line, lines)]) for name, lines in _LINES.items()}

    class Given:
        def of(self, proc: str) -> MountTable:
            return {"/proc/self": made["own"], INIT: mounts.EMPTY}.get(proc, made["target"])

    monkeypatch.setattr(local, "TABLES", Given())
    assert Surroundings("/proc/77").is_local(device) is _LOCAL[device]


@needs_root
def test_the_file_behind_a_loop_device_is_seen(tmp_path: Path) -> None:
    image = tmp_path / "an image"
    image.write_bytes(bytes(1 << 20))
    made = subprocess.run(
        ["losetup", "--find", "--show", image], capture_output=True, text=True, check=False
    )
    if made.returncode:
        pytest.skip("no loop device can be had here")
    loop = made.stdout.strip()
    try:
        number = Path(loop).stat().st_rdev
        device = os.major(number), os.minor(number)
        by_number = Mount(1, device, b"/", "ext4", os.fsencode(loop), ())
        by_name = Mount(1, (0, 99), b"/", "btrfs", os.fsencode(loop), ())
        for mount in (by_number, by_name):
            assert local._loop_files(mount) == [os.fsencode(image)]  # noqa: SLF001 - what is behind it
    finally:
        subprocess.run(["losetup", "--detach", loop], check=True)
