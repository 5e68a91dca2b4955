"""Why the kernel refuses access to a process: the checks of ptrace(2), in the kernel's order.

EPERM does not say which check it was. Both processes are looked at afterwards and the checks done
again (``__ptrace_may_access`` of kernel/ptrace.c, PTRACE_MODE_ATTACH_REALCREDS).
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from pathlib import Path

from farpeek.errors import AccessDenied
from farpeek.kernel import status, uapi, users
from farpeek.model import Gate

_CAP_SYS_PTRACE = 1 << 19
_YAMA = Path("/proc/sys/kernel/yama/ptrace_scope")


@dataclass(frozen=True, slots=True)
class Credentials:
    """What proc_pid_status(5) tells of a process; ids are real, effective, saved, filesystem."""

    uids: tuple[int, int, int, int]
    gids: tuple[int, int, int, int]
    permitted: int
    effective: int


def credentials(pid: int | str) -> Credentials | None:
    """Credentials of a process; None if there is none of that number."""
    try:
        fields = status.fields(f"/proc/{pid}")
    except OSError:
        return None
    uids = [int(word) for word in fields[b"Uid"].split()]
    gids = [int(word) for word in fields[b"Gid"].split()]
    return Credentials(
        uids=(uids[0], uids[1], uids[2], uids[3]),
        gids=(gids[0], gids[1], gids[2], gids[3]),
        permitted=int(fields[b"CapPrm"], 16),
        effective=int(fields[b"CapEff"], 16),
    )


def find(pid: int) -> AccessDenied:
    """Find the gate that refused this service access to the memory of process ``pid``."""
    own = credentials("self")
    theirs = credentials(pid)
    if own is None or theirs is None:
        return _denied(Gate.UID, "the kernel refuses access", "look at /proc of the service")
    if uapi.probe_memory(os.getpid()) == -errno.EPERM:
        return _denied(
            Gate.SECCOMP,
            "process_vm_readv is refused even for the service's own memory: a seccomp filter",
            "allow process_vm_readv in the service's seccomp profile "
            "(the default profiles of container runtimes allow it on kernels from 4.8 on)",
        )
    if own.effective & _CAP_SYS_PTRACE:
        return _in_spite_of_capability()
    return (
        _by_credentials(own, theirs)
        or _by_dumpable(pid, theirs)
        or _by_namespace(pid)
        or _by_modules(own, theirs)
        or _unseen(theirs)
    )


def _in_spite_of_capability() -> AccessDenied:
    """The service has CAP_SYS_PTRACE, and it did not help."""
    if _yama_scope() == 3:  # noqa: PLR2004 - "no attach", Documentation/admin-guide/LSM/Yama.rst
        return _denied(
            Gate.YAMA,
            "Yama forbids all access (kernel.yama.ptrace_scope is 3)",
            "set kernel.yama.ptrace_scope to 2 or less; 3 lasts until the next boot",
        )
    if users.are_the_first():  # which is above all others
        return _module()
    return _denied(
        Gate.USER_NAMESPACE,
        "CAP_SYS_PTRACE does not reach the target: it is in a user namespace that is not below "
        "the service's, or a security module objects",
        "run the service in the target's user namespace or in one above it; otherwise look for a "
        "refusal by AppArmor or SELinux in the kernel's log",
    )


def _module() -> AccessDenied:
    """AppArmor and SELinux write to the kernel's log; Landlock (since 5.13) is seen nowhere."""
    return _denied(
        Gate.SECURITY_MODULE,
        "a security module refuses it: a Landlock domain around the service, AppArmor, SELinux or "
        "a BPF program",
        "start the service outside of a Landlock sandbox; look for a refusal by AppArmor or "
        "SELinux in the kernel's log",
    )


def _unseen(theirs: Credentials) -> AccessDenied:
    """What does not show: root's own files in /proc are root's, dumpable or not."""
    return _not_dumpable() if theirs.uids[1] == 0 else _module()


def _by_credentials(own: Credentials, theirs: Credentials) -> AccessDenied | None:
    """The real ids of the service have to be all of the target's."""
    if set(theirs.uids[:3]) != {own.uids[0]}:
        if not users.all_are_mapped() and users.overflow_uid() in theirs.uids[:3]:
            return _denied(
                Gate.USER_NAMESPACE,
                "the target's user does not exist in the service's user namespace",
                "run the service in the target's user namespace, or in the one above both",
            )
        return _denied(
            Gate.UID,
            f"the target runs as uid {_spread(theirs.uids)}, the service as uid {own.uids[0]}",
            f"run the service as uid {theirs.uids[1]}, or give it CAP_SYS_PTRACE",
        )
    if set(theirs.gids[:3]) != {own.gids[0]}:
        return _denied(
            Gate.GID,
            f"the target runs as gid {_spread(theirs.gids)}, the service as gid {own.gids[0]}",
            f"run the service as gid {theirs.gids[1]} too (runAsGroup), or give it CAP_SYS_PTRACE",
        )
    return None


def _by_dumpable(pid: int, theirs: Credentials) -> AccessDenied | None:
    """The files of a process that is not dumpable belong to root, proc(5).

    So it does not show on root's own processes.
    """
    try:
        owner = Path(f"/proc/{pid}/stat").stat().st_uid
    except OSError:
        return None
    return None if owner == theirs.uids[1] else _not_dumpable()


def _not_dumpable() -> AccessDenied:
    return _denied(
        Gate.DUMPABLE,
        "the target is not dumpable: it changed its ids, was executed from a file it may not "
        "read, or asked for it by prctl(PR_SET_DUMPABLE)",
        "give the service CAP_SYS_PTRACE, or let the target call prctl(PR_SET_DUMPABLE, 1)",
    )


def _by_namespace(pid: int) -> AccessDenied | None:
    """Capabilities count in their own user namespace only, so this goes before them."""
    if all(users.id_map("self", kind) == users.id_map(pid, kind) for kind in ("uid", "gid")):
        return None
    return _denied(
        Gate.USER_NAMESPACE,
        "the target is in another user namespace, where the service's credentials count for less",
        "give the service CAP_SYS_PTRACE in the user namespace above the target's, "
        "or run it in the target's own",
    )


def _by_modules(own: Credentials, theirs: Credentials) -> AccessDenied | None:
    """The security modules: first the capabilities, then Yama."""
    if theirs.permitted & ~own.permitted:
        return _denied(
            Gate.CAPABILITY,
            f"the target has capabilities that the service lacks "
            f"({theirs.permitted & ~own.permitted:#x} of CapPrm)",
            "give the service CAP_SYS_PTRACE, or all capabilities of the target",
        )
    scope = _yama_scope()
    if not scope:
        return None
    return _denied(
        Gate.YAMA,
        f"Yama forbids access to processes that are no children of the service "
        f"(kernel.yama.ptrace_scope is {scope})",
        "give the service CAP_SYS_PTRACE, let the target call prctl(PR_SET_PTRACER, ...), "
        "or set kernel.yama.ptrace_scope to 0",
    )


def _denied(gate: Gate, detail: str, hint: str) -> AccessDenied:
    return AccessDenied(gate, detail, hint, errno.EPERM)


def _spread(ids: tuple[int, int, int, int]) -> str:
    """The ids as one number where they agree, as real/effective/saved where not."""
    return "/".join(map(str, dict.fromkeys(ids[:3])))


def _yama_scope() -> int | None:
    try:
        return int(_YAMA.read_text())
    except (OSError, ValueError):
        return None
