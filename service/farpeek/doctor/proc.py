"""Options by which /proc hides processes and files; Documentation/filesystems/proc.rst."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from farpeek.doctor import cures
from farpeek.doctor.findings import Cure, Finding, Verdict

_MOUNTS: Final = Path("/proc/self/mounts")
_PTRACEABLE: Final = frozenset({"4", "ptraceable"})
_NUMBERS_ONLY: Final = frozenset({"1", "noaccess"})
_NOTHING: Final = frozenset({"", "0", "off"})


def hidepid(*, has_ptrace: bool) -> Finding:
    """Tell whether other users' processes are hidden (``has_pid_permissions``, fs/proc/base.c)."""
    options = _options()
    level = options.get("hidepid", "")
    if level in _NOTHING:
        return Finding("hidepid", Verdict.FINE, "/proc shows all processes")
    here = f"/proc is mounted with hidepid={level}"
    if has_ptrace:
        return Finding("hidepid", Verdict.FINE, f"{here}, which CAP_SYS_PTRACE passes")
    group = int(options.get("gid", "0"))  # not shown where it is root's
    if level not in _PTRACEABLE and group in {os.getegid(), *os.getgroups()}:
        return Finding("hidepid", Verdict.FINE, f"{here}, which the service's group {group} passes")
    shown = "their numbers alone" if level in _NUMBERS_ONLY else "nothing"
    effect = f"of other users' processes {shown} can be seen, so none is found by a match"
    return Finding("hidepid", Verdict.LIMITS, here, effect, _seeing(level, group))


def _seeing(level: str, group: int) -> Cure:
    """hidepid=ptraceable knows no group; a remount keeps `gid=`."""
    member = f", or be a member of the group {group}"
    by_group = "" if level in _PTRACEABLE else f"{member} (SupplementaryGroups=)"
    ptrace = cures.grant("SYS_PTRACE")
    runtimes = "before Linux 5.8 it is the host's option where the pid namespace is the host's"
    return Cure(
        host="mount -o remount,hidepid=0 /proc (ProtectProc=default in a unit), or CAP_SYS_PTRACE"
        + by_group,
        docker=f"{ptrace.docker}; {runtimes}",
        kubernetes=f"{ptrace.kubernetes}; {runtimes}",
    )


def subset() -> Finding:
    """Tell whether /proc has nothing but processes, as ProcSubset=pid makes it."""
    gate = "/proc subset"
    if "subset" not in _options():
        return Finding(gate, Verdict.FINE, "/proc has all of its files")
    return Finding(
        gate,
        Verdict.NOTE,
        f"/proc is mounted with subset={_options()['subset']}: there is no /proc/sys",
        "reads go on; Yama's setting cannot be seen, and targets' ids are not tied to this boot",
        Cure(
            host="mount -t proc proc /proc (ProcSubset=all in a unit); a remount keeps the option",
            docker="leave /proc to the runtime, which does not set it",
            kubernetes="leave /proc to the runtime, which does not set it",
        ),
    )


def _options() -> dict[str, str]:
    """Give the options of the mount that is on top at /proc; fstab(5) has the form."""
    try:
        mounts = _MOUNTS.read_text(errors="replace").splitlines()
    except OSError:
        return {}
    found: dict[str, str] = {}
    for line in mounts:
        _, place, kind, options, *_ = [*line.split(" "), "", "", "", ""]
        if place == "/proc" and kind == "proc":
            pairs = (option.partition("=") for option in options.split(","))
            found = {name: value for name, _, value in pairs}
    return found
