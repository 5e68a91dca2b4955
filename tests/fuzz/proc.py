"""What the kernel tells of a process: its form is the kernel's, all names in it are others'."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path

from farpeek.kernel import names, status
from farpeek.mappings import auxv, elf, flags, maps, markers, mounts
from farpeek.targets import cgroups, cmdlines, environments, processes
from fuzz.choices import Choices

MOST_READ = 4 << 20
_NAME = b"\0/\n"


def name_texts(data: bytes) -> None:
    """No two names look alike: what is shown has one name alone."""
    shown = names.shown(data)
    back = shown.encode("utf-8")
    assert shown.encode("utf-8", "strict").decode() == shown
    for at in range(min(len(data), 4)):
        other = data[:at] + data[at + 1 :]
        assert other == data or names.shown(other) != shown
    assert len(back) <= 4 * len(data)


def statuses(data: bytes) -> None:
    """A name cannot forge a field of proc_pid_status(5)."""
    choices = Choices(data)
    uid, kilobytes = choices.number(1 << 32), choices.number(1 << 40)
    name = _escaped(choices.take(15))
    content = b"Name:\t%b\nUmask:\t0022\nTgid:\t7\nUid:\t%d\t%d\t0\t0\nVmRSS:\t%8d kB\n%b" % (
        *(name, uid, uid, kilobytes),
        choices.rest() and b"NSpid:\t7\n",
    )
    with _folder(status=content) as proc:
        fields = status.fields(proc)
        assert fields[b"Name"] == name
        assert fields[b"Uid"].split()[1] == b"%d" % uid
        assert status.size(proc, b"VmRSS") == kilobytes << 10
        assert status.field(proc, b"Tgid") == b"7"
        assert status.field(proc, b"Nothing") is None


def stats(data: bytes) -> None:
    """A name cannot forge a field of proc_pid_stat(5)."""
    choices = Choices(data)
    numbers = [choices.number(1 << 31) for _ in range(49)]
    name = choices.rest()[:15].replace(b"\0", b"")
    line = b"7 (%b) %b %b\n" % (name, b"S", b" ".join(b"%d" % each for each in numbers))
    with _folder(stat=line) as proc:
        found = processes._stat_of(proc)  # noqa: SLF001 - all that parses the file
        assert found is not None
        assert found.comm == names.shown(name)
        assert (found.parent, found.threads) == (numbers[0], numbers[16])
        assert processes.places(proc) == (numbers[22], numbers[24])


def maps_lines(data: bytes) -> None:
    """A path cannot forge a mapping, and is told as it is."""
    choices = Choices(data)
    start = choices.number(1 << 47)
    end = start + 1 + choices.number(1 << 40)
    inode = choices.number(1 << 63)
    path = b"/" + choices.text(200, b"\0\n").lstrip()
    head = b"%x-%x r-xp %08x fe:01 %d" % (start, end, choices.number(1 << 47), inode)
    found = maps.parse_line(head.ljust(72) + b" " + path + b"\n")
    assert (found.start, found.end, found.inode) == (start, end, inode)
    assert found.path == path.replace(b"\\012", b"\n").rstrip() or found.path.startswith(b"/")
    assert maps.parse_line(head + b" \n").path == b""
    with _folder(maps=head + b" " + path + b"\n") as proc, maps.listed_map(proc) as listed:
        at = listed.at_or_above(start)
        assert at is not None
        assert (at.start, at.end) == (start, end)
        assert listed.at_or_above(end) is None


def smaps(data: bytes) -> None:
    """A path cannot forge flags: those of a mapping are those that the kernel says."""
    choices = Choices(data)
    expected: list[tuple[int, int, list[bytes]]] = []
    content, at = b"", 0
    for _ in range(1 + choices.number(4)):
        start = at + choices.number(1 << 20)
        at = end = start + 1 + choices.number(1 << 30)
        said = [choices.pick([b"rd", b"wr", b"mr", b"dd", b"gd"]) for _ in range(choices.number(4))]
        path = choices.text(64, b"\0\n")
        content += b"%x-%x r--p 00000000 00:00 0   /%b\nRss:   4 kB\nVmFlags: %b \n" % (
            *(start, end, path),
            b" ".join(said),
        )
        expected.append((start, end, said))
    with _folder(smaps=content) as proc:
        assert [(*place, list(said)) for *place, said in flags.each_vm_flags(proc)] == expected
        assert flags.vm_flags(proc, expected[0][0]) == frozenset(expected[0][2])


def mountinfo(data: bytes) -> None:
    """A line is a mount, or a ValueError; what is mounted at a name is found at that name."""
    for line in data.split(b"\n"):
        with suppress(ValueError):
            mounts.parse_line(line)
    point = b"/" + data.translate(None, b"\0").lstrip(b"/")[:200]
    escaped = b"".join(b"\\%03o" % each if each in b" \t\n\\#" else bytes([each]) for each in point)
    line = b"36 35 98:0 / %b rw,noatime shared:1 - ext3 %b rw,a=%b\n" % (escaped, escaped, b"b")
    mount = mounts.parse_line(line)
    assert (mount.point, mount.source) == (point, point)
    assert (mount.number, mount.device, mount.filesystem) == (36, (98, 0), "ext3")
    table = mounts.MountTable([mount])
    assert mount in table.at(point)
    assert mount in list(table.on_the_way(point))


def cgroup_files(data: bytes) -> None:
    """Any content has a path or none, and a container only of what is in it."""
    path, container = cgroups.parse(data)
    assert path is None or isinstance(path, str)
    assert container is None or container
    named = data.translate(None, b"\n")
    found, _ = cgroups.parse(b"0::/%b\n" % named)
    assert found == names.shown(b"/" + named)


def command_lines(data: bytes) -> None:
    """Arguments are what is between NULs, each shown, up to so many."""
    words = cmdlines.split(data)
    assert len(words) <= cmdlines.MOST_WORDS
    expected = data.removesuffix(b"\0").split(b"\0")[: cmdlines.MOST_WORDS] if data else []
    assert list(words) == [names.shown(each) for each in expected]


def environment_files(data: bytes) -> None:
    """A program is left alone when one whole variable of it says so, wherever that stands."""
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        file.seek(0)
        found, is_empty = environments._look_through(file.fileno())  # noqa: SLF001 - all that parses
    assert is_empty is not bool(data)
    assert found is any(
        each == environments.DENY or each.startswith(environments.NO_DEBUG)
        for each in data.split(b"\0")
    )


def aux_vectors(data: bytes) -> None:
    """Any content is a vector of words of one size, or none."""
    size, vector = auxv.parse(data)
    assert size in (4, 8, None)
    assert bool(vector) is (size is not None)
    assert len(vector) <= len(data) // 8
    assert len(auxv.named(vector)) == len(vector)


def elf_notes(data: bytes) -> None:
    """However a target writes its headers: few reads, of few bytes, and an id of few digits."""
    reads: list[int] = []

    def read(address: int, length: int) -> bytes | None:
        assert 0 <= length <= MOST_READ
        reads.append(length)
        found = data[address : address + length] if address < len(data) else b""
        return found if len(found) == length else None

    found = elf.build_id(0, read)
    assert len(reads) <= 2 + 64
    assert found is None or len(bytes.fromhex(found)) <= 64


def page_entries(data: bytes) -> None:
    """Any entry of a page table is of one kind, and one that is there is present."""
    for at in range(0, len(data) - 7, 8):
        entry = int.from_bytes(data[at : at + 8], "little")
        for swapless in (False, True):
            kind = markers._kind(entry, swapless=swapless)  # noqa: SLF001 - all that parses one
            assert (kind is markers.Entry.PRESENT) is bool(entry >> 63)


def _escaped(name: bytes) -> bytes:
    """As the kernel writes a name: task_name of fs/proc/array.c."""
    return name.replace(b"\0", b"").replace(b"\\", b"\\\\").replace(b"\n", b"\\n")


class _folder:  # noqa: N801 - it is called, as a function would be
    """A folder of /proc that has these files."""

    def __init__(self, **files: bytes) -> None:
        self._files = files
        self._folder = tempfile.TemporaryDirectory(prefix="farpeek-fuzz-")

    def __enter__(self) -> str:
        for name, content in self._files.items():
            Path(self._folder.name, name).write_bytes(content)
        return os.fspath(self._folder.name)

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()
