"""The page-kind target, and what it needs around it: a swap file, a FUSE server, a cgroup."""

from __future__ import annotations

import mmap
import os
import subprocess
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from support.ending import Ending
from support.folders import OURS
from support.pattern import pattern
from support.reading import proc_mem
from support.targets import Target, start

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = mmap.PAGESIZE
_DISK_SIZE = 192 << 20
_ZEROS, _NOTHING = 0, 1  # seeds that are none, as in pagekinds.c
_GROUPS = Path("/sys/fs/cgroup/memory")

NO_NEIGHBOURS = frozenset(["vdso", "vvar", "vsyscall"])
FUSE_FILES = {
    name: number
    for number, name in enumerate(
        (
            *("fuse_mapped", "fuse_cached", "fuse_cold", "fuse_random"),
            *("fuse_hung", "fuse_hung_random", "fuse_hung_all"),
        )
    )
}
"""The file of the FUSE server behind each kind."""


@contextmanager
def disk(folder: Path) -> Iterator[Path]:
    """Give a folder on a disk's filesystem: ``folder``, or an ext4 of its own on a loop device.

    Pages of tmpfs are never evicted to their file, and no swap file can lie there.
    """
    kind = _output("stat", "--file-system", "--format=%T", str(folder))
    if kind not in ("tmpfs", "ramfs", "overlayfs"):
        yield folder
        return
    with _ext4(folder, _DISK_SIZE) as mounted:
        yield mounted


@contextmanager
def small_blocks(folder: Path) -> Iterator[Path]:
    """Give a folder on an ext4 whose blocks are smaller than any page."""
    with _ext4(folder, 8 << 20, "-b", "1024") as mounted:
        yield mounted


@contextmanager
def _ext4(folder: Path, size: int, *options: str) -> Iterator[Path]:
    image, mounted = folder / "disk.img", folder / "disk"
    mounted.mkdir()
    with image.open("wb") as file:
        file.truncate(size)
    _output("mkfs.ext4", "-q", *options, str(image))
    # In two steps: `mount -o loop` fails where the loop device has to be made first.
    device = _output("losetup", "--find", "--show", str(image))
    try:
        _output("mount", device, str(mounted))
        try:
            yield mounted
        finally:
            _output("umount", str(mounted))
    finally:
        _output("losetup", "--detach", device)
        image.unlink()


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@contextmanager
def swap_file(folder: Path, megabytes: int = 64) -> Iterator[None]:
    """Swap to a file in ``folder``, which must be on a disk. Everything comes back at the end."""
    with start("swap", folder / "swap", megabytes) as helper:
        try:
            yield
        finally:
            # By the end of its stdin, not by a signal: the file would stay in use.
            assert helper.finish() == 0, "the swap file could not be taken back"


@contextmanager
def memory_group() -> Iterator[Path | None]:
    """Make a memory cgroup, from which everything can be reclaimed; None where it cannot be.

    Only in the first version's hierarchy: in the second one, processes and groups cannot share a
    parent, and the test's own may be anywhere.
    """
    folder = _GROUPS / OURS
    try:
        folder.mkdir()
    except OSError:
        yield None
        return
    try:
        yield folder
    finally:
        folder.rmdir()


class FuseServer(Ending):
    """A mounted filesystem whose answers are the test's; ends, and unmounts, with the ``with``.

    ``no_async`` and ``readahead`` (bytes) are what it agrees on with the kernel.
    """

    def __init__(
        self, folder: Path, *, no_async: bool = False, readahead: int | None = None
    ) -> None:
        arguments: list[object] = [folder]
        arguments += ["--no-async"] if no_async else []
        arguments += ["--readahead", readahead] if readahead is not None else []
        self.folder = folder
        self.target = start("fuse", *arguments)

    def end(self) -> None:
        self.target.end()

    def delay(self, file: int, milliseconds: int) -> None:
        """Have every read of a file take so long."""
        self._tell(f"delay {file} {milliseconds}")

    def hang(self, file: int, *, everything: bool = False) -> None:
        """Answer no reads of a file any more; with ``everything``, no request at all."""
        self._tell(f"{'hang-all' if everything else 'hang'} {file}")

    def serve(self, file: int) -> None:
        """Answer what waits, and all that comes."""
        self._tell(f"serve {file}")

    def forget(self) -> None:
        """Begin to count anew."""
        self._tell("forget")

    def counts(self, file: int) -> dict[str, int]:
        """Return how many requests of each kind there were for a file, and how many wait."""
        words = self.target.command(f"counts {file}").split()
        return {name: int(count) for name, _, count in (word.partition("=") for word in words)}

    def asked(self, file: int) -> int:
        """Return how many requests there were for a file."""
        return sum(count for name, count in self.counts(file).items() if name != "waiting")

    def _tell(self, line: str) -> None:
        answer = self.target.command(line)
        assert answer == "ok", f"{line}: {answer}"


class PageKinds:
    """A process with a page of every kind that can be made here."""

    def __init__(self, target: Target, fuse: FuseServer | None) -> None:
        self.target = target
        self.fuse = fuse
        prefix = "content."
        self._seeds = {
            name.removeprefix(prefix): seed
            for name, seed in target.addresses.items()
            if name.startswith(prefix)
        }

    @property
    def names(self) -> list[str]:
        """Return the kinds that could be made, in the order of the target's table."""
        return list(self._seeds)

    def page(self, name: str) -> int:
        """Return the address of the page."""
        return self.target[name]

    def content(self, name: str) -> bytes | None:
        """Return what the page holds; None if it cannot be read, however long one waits."""
        seed = self._seeds[name]
        if seed == _NOTHING:
            return None
        if name == "vdso":
            return proc_mem(self.target.pid, self.page(name), PAGE)
        return bytes(PAGE) if seed == _ZEROS else pattern(seed, PAGE)

    def again(self, name: str) -> None:
        """Make the page what it was before somebody read it."""
        answer = self.target.command(f"again {name}")
        assert answer == "ok", f"{name}: {answer}"

    def is_resident(self, name: str) -> bool:
        """Return whether the page is in memory, as the process itself is told by mincore(2).

        False for never-touched anonymous memory, too; true for what is in the swap cache.
        """
        return bool(self._state(name)["mincore"] & 1)

    def is_mapped(self, name: str) -> bool:
        """Return whether the page is in the process's page table."""
        return bool(self._state(name)["pagemap"] >> 63)

    def major_faults(self) -> int:
        """Return how often the process itself has waited for a page."""
        return int(self.target.command("faults").partition("=")[2], 16)

    def _state(self, name: str) -> dict[str, int]:
        words = self.target.command(f"state {name}").split()
        return {key: int(value, 16) for key, _, value in (word.partition("=") for word in words)}


@contextmanager
def page_kinds(
    folder: Path, *, swap: bool = True, fuse: bool = True, no_async: bool = False
) -> Iterator[PageKinds]:
    """Start the page-kind target, with its files in ``folder``.

    Swap and FUSE are left out where privileges are missing, and so are their kinds.
    """
    with ExitStack() as stack:
        arguments: list[object] = [folder]
        server = None
        if os.geteuid() == 0:
            folder = stack.enter_context(disk(folder))
            arguments = [folder]
            group = stack.enter_context(memory_group())
            if swap:
                stack.enter_context(swap_file(folder))
            if group is not None:
                arguments += ["--group", group]
            if fuse:
                mountpoint = folder / "fuse"
                mountpoint.mkdir()
                server = stack.enter_context(FuseServer(mountpoint, no_async=no_async))
                arguments += ["--fuse", server.target.pid, mountpoint]
        target = stack.enter_context(start("pagekinds", *arguments))
        yield PageKinds(target, server)
