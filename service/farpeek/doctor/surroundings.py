"""What is around this process: namespaces, seccomp, Yama and other security modules."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from farpeek.doctor import cures
from farpeek.doctor.findings import Cure, Finding, Verdict
from farpeek.kernel import namespaces, status, uapi, users

if TYPE_CHECKING:
    from collections.abc import Iterator

_SYSCTL: Final = Path("/proc/sys/kernel")
_LABEL: Final = Path("/proc/self/attr/current")
_YAMA_CHILDREN: Final = 1
_YAMA_ADMIN: Final = 2
_YAMA_NOBODY: Final = 3
_TRIED: Final = 64


def surroundings(*, has_ptrace: bool) -> Iterator[Finding]:
    """Tell of each; ``has_ptrace``: CAP_SYS_PTRACE is effective."""
    yield _user_namespace()
    yield _pid_namespace()
    yield _yama(has_ptrace=has_ptrace)
    yield _seccomp()
    yield _module(has_ptrace=has_ptrace)


def _user_namespace() -> Finding:
    gate = "user namespace"
    if users.are_the_first() is not False:
        return Finding(gate, Verdict.FINE, "the first one")
    mapped = "all users are mapped" if users.all_are_mapped() else "some users are mapped"
    return Finding(
        gate,
        Verdict.LIMITS,
        f"one of its own, where {mapped}",
        "capabilities do not reach processes outside of it",
        Cure(
            host="run the service in the first user namespace (PrivateUsers=no in a unit)",
            docker="--userns host, by a runtime that runs as root",
            kubernetes="hostUsers: true",
        ),
    )


def _pid_namespace() -> Finding:
    gate = "pid namespace"
    if namespaces.is_the_first() is not False:
        return Finding(gate, Verdict.FINE, "the first one")
    return Finding(
        gate,
        Verdict.NOTE,
        "one of its own",
        "processes outside of it are not there for the service",
        Cure(
            host="run the service in the first pid namespace (nsenter --target 1 --pid)",
            docker="--pid host, or --pid container:NAME for one container's",
            kubernetes="hostPID: true, or shareProcessNamespace: true for those of the pod",
        ),
    )


def yama_scope() -> int | None:
    """The setting of Yama; None where it has none, or it cannot be seen."""
    try:
        return int((_SYSCTL / "yama" / "ptrace_scope").read_text())
    except (OSError, ValueError):
        return None


def _yama(*, has_ptrace: bool) -> Finding:
    """Documentation/admin-guide/LSM/Yama.rst."""
    scope = yama_scope()
    if scope is None:
        return _no_yama()
    here = f"kernel.yama.ptrace_scope is {scope}"
    if scope == _YAMA_NOBODY:
        cure = Cure(host="set it to 2 or less, which takes a reboot")
        return Finding("Yama", Verdict.BLOCKS, here, "no memory of others can be read", cure)
    if scope < _YAMA_CHILDREN or has_ptrace:
        return Finding("Yama", Verdict.FINE, here)
    ptrace = cures.grant("SYS_PTRACE")
    return Finding(
        "Yama",
        Verdict.LIMITS,
        here,
        "no memory of others can be read without CAP_SYS_PTRACE"
        if scope == _YAMA_ADMIN
        else "only children, and processes that allow it (PR_SET_PTRACER), can be read",
        Cure(
            host=f"sysctl kernel.yama.ptrace_scope=0; or {ptrace.host}",
            docker=f"{ptrace.docker}; the setting is the host's",
            kubernetes=f"{ptrace.kubernetes}; the setting is the node's",
        ),
    )


def _no_yama() -> Finding:
    if _SYSCTL.is_dir():
        return Finding("Yama", Verdict.FINE, "is not in this kernel")
    cure = Cure(host="mount -t proc proc /proc (ProcSubset=all in a unit)")
    here = "its setting cannot be seen: there is no /proc/sys"
    return Finding("Yama", Verdict.NOTE, here, "it may refuse what CAP_SYS_PTRACE allows", cure)


def _seccomp() -> Finding:
    modes = {b"0": "no filter", b"1": "strict", b"2": "a filter"}
    here = modes.get(status.field("/proc/self", b"Seccomp") or b"0", "unknown")
    return Finding("seccomp", Verdict.FINE, here, "what it refuses shows where a call was tried")


def _module(*, has_ptrace: bool) -> Finding:
    """AppArmor and SELinux show a label, proc_pid_attr(5); Landlock shows nothing, and is tried."""
    refused, tried = _refused_in_spite_of_capability() if has_ptrace else (0, 0)
    if refused:
        return _refusing_module(refused, tried)
    try:
        label = _LABEL.read_bytes().rstrip(b"\0\n")
    except OSError:
        label = b""
    if label in (b"", b"unconfined"):
        return Finding("security module", Verdict.FINE, "does not confine the service")
    return Finding(
        "security module",
        Verdict.NOTE,
        f"confines the service as {label.decode(errors='replace')}",
        "it may refuse ptrace access to processes of other labels",
        Cure(
            host="let the profile have `ptrace (read)` of the targets' labels",
            docker="--security-opt apparmor=PROFILE",
            kubernetes="securityContext.appArmorProfile, seLinuxOptions",
        ),
    )


def _refused_in_spite_of_capability() -> tuple[int, int]:
    """Try the first processes that have memory: how many are refused, and how many were tried.

    In the first user namespace CAP_SYS_PTRACE passes users, groups and Yama, but for its last
    setting.
    """
    if users.are_the_first() is not True or yama_scope() == _YAMA_NOBODY:
        return 0, 0
    pids = sorted(int(name) for name in os.listdir("/proc") if name.isdigit())  # noqa: PTH208
    answers = [uapi.probe_memory(pid) for pid in pids if pid != os.getpid()]
    told = [answer for answer in answers if answer != -errno.ESRCH][:_TRIED]
    if uapi.probe_memory(os.getpid()) == -errno.EPERM:  # by a seccomp filter
        return 0, 0
    return told.count(-errno.EPERM), len(told)


def _refusing_module(refused: int, tried: int) -> Finding:
    return Finding(
        "security module",
        Verdict.LIMITS,
        f"{refused} of {tried} processes are refused although CAP_SYS_PTRACE is effective",
        "a Landlock domain around the service, AppArmor, SELinux or a BPF program refuses them",
        Cure(
            host="start the service outside of a Landlock sandbox (landlock_restrict_self); look "
            "for refusals of AppArmor or SELinux in the kernel's log",
            docker="--security-opt apparmor=PROFILE, or label=disable with SELinux",
            kubernetes="securityContext.appArmorProfile, seLinuxOptions",
        ),
    )
