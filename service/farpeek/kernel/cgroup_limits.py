"""Limits of the cgroups that this process is in; cgroups(7)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def lowest(controller: str, first: str, second: str, root: Path, own: Path) -> int | None:
    """Give the lowest limit of this process's cgroup and of those above it; None if it is free.

    The files of the two versions are called ``first`` and ``second``; ``root`` is where the trees
    are mounted, ``own`` what proc_pid_cgroup(5) says.
    """
    files = _files(controller, first, second, root, own)
    return min((limit for file in files if (limit := _limit(file)) is not None), default=None)


def _files(controller: str, first: str, second: str, root: Path, own: Path) -> Iterator[Path]:
    try:
        lines = own.read_text("utf-8", "surrogateescape").split("\n")
    except OSError:
        return
    for line in lines:
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            for top in (root, root / "unified"):
                yield from _upwards(top, path, second)
        elif controller in controllers.split(","):
            yield from _upwards(root / controller, path, first)


def _upwards(top: Path, path: str, name: str) -> Iterator[Path]:
    """Give the file of the cgroup and of all above it.

    In a container the path may be the host's while the tree begins with its own cgroup; then what
    is not there is passed over, and the top is its own.
    """
    folder = top / path.lstrip("/")
    while folder != top and top in folder.parents:
        yield folder / name
        folder = folder.parent
    yield top / name


def _limit(file: Path) -> int | None:
    try:
        text = file.read_text("ascii").strip()
    except (OSError, ValueError):
        return None
    # The first version says "none" by the largest number of whole pages.
    return int(text) if text.isdigit() and int(text) < 1 << 62 else None
