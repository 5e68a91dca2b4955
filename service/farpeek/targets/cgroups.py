"""The cgroup of a process, and the container that it stands for; cgroups(7).

A cgroup's name is any bytes but a slash and a newline (cgroup_mkdir of kernel/cgroup/cgroup.c), so
lines end with newlines and with nothing else.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from farpeek.kernel import names

if TYPE_CHECKING:
    from collections.abc import Sequence

_HEX_ID: Final = re.compile(rb"(?<![0-9a-f])([0-9a-f]{64})(?![0-9a-f])")
"""docker, containerd, CRI-O, podman, ECS on EC2: in a scope's name, or alone."""

_WHOLE_ID: Final = re.compile(
    rb"[0-9a-f]{32}-[0-9]+"  # ECS on Fargate: the task, and a number of the container
    rb"|[0-9a-f]{8}(?:-[0-9a-f]{4}){4}"  # Garden (Cloud Foundry)
)
_LXC: Final = re.compile(rb"lxc\.payload\.(.+)")  # from LXC 4.0 on
_LXC_FOLDERS: Final = (b"lxc", b"lxc.payload")
_NSPAWN: Final = re.compile(rb"systemd-nspawn@(.+)\.service|machine-(?!qemu\\x2d)(.+)\.scope")
_UNIFIED: Final = (b"/sys/fs/cgroup", b"/sys/fs/cgroup/unified")
_FREEZER: Final = b"/sys/fs/cgroup/freezer"
_UNIT_ESCAPE: Final = re.compile(rb"\\x([0-9a-f]{2})")  # systemd.unit(5)


def parse(content: bytes) -> tuple[str | None, str | None]:
    """Give path and container id from what proc_pid_cgroup(5) says; None where it says nothing.

    The path is the one in the unified hierarchy (``0::``), else in the first one that says
    something: where the first version's hierarchies are in use, all are in the root of the second.
    """
    lines = [line.split(b":", 2) for line in content.split(b"\n") if line.count(b":") > 1]
    paths = [path for _, _, path in sorted(lines, key=lambda line: line[0] != b"0")]
    if not paths:
        return None, None
    chosen = next((path for path in paths if path != b"/"), paths[0])
    containers = (container(path) for path in paths)
    return names.shown(chosen), next((found for found in containers if found), None)


def container(path: bytes) -> str | None:
    """Give the id or name of the container by its cgroup's path; the innermost of nested ones."""
    parts = path.split(b"/")
    found = (_of(parts, number) for number in range(len(parts) - 1, -1, -1))
    return next((names.shown(each) for each in found if each), None)


def is_frozen(content: bytes) -> bool:
    """Whether the group, or one above it, is frozen; False where that cannot be seen."""
    for line in content.split(b"\n"):
        number, _, rest = line.partition(b":")
        controllers, _, path = rest.partition(b":")
        if b"/.." in path:  # outside of the service's cgroup namespace
            continue
        if number == b"0":
            files = [root + path + b"/cgroup.events" for root in _UNIFIED]
            wanted = b"frozen 1"
        elif b"freezer" in controllers.split(b","):
            files, wanted = [_FREEZER + path + b"/freezer.state"], b"FROZEN"
        else:
            continue
        if any(wanted in _content(file).split(b"\n") for file in files):
            return True
    return False


def _content(file: bytes) -> bytes:
    try:
        with open(file, "rb") as opened:  # noqa: PTH123 - a name in bytes
            return opened.read(4096)
    except OSError:
        return b""


def _of(parts: Sequence[bytes], number: int) -> bytes | None:
    """The id or name that part ``number`` of a path stands for."""
    part = parts[number]
    ids = _HEX_ID.findall(part)
    if ids:
        return bytes(ids[-1])
    if _WHOLE_ID.fullmatch(part):
        return part
    if number and parts[number - 1] in _LXC_FOLDERS:
        return part
    if lxc := _LXC.fullmatch(part):
        return lxc[1]
    if nspawn := _NSPAWN.fullmatch(part):
        return _UNIT_ESCAPE.sub(lambda each: bytes([int(each[1], 16)]), nspawn[1] or nspawn[2])
    return None
