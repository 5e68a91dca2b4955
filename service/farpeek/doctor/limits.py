"""How many descriptors and threads the service may have."""

from __future__ import annotations

import os
import resource
from pathlib import Path
from typing import TYPE_CHECKING, Final

from farpeek.doctor.findings import Cure, Finding, Verdict
from farpeek.kernel import cgroup_limits
from farpeek.model import Limits

if TYPE_CHECKING:
    from collections.abc import Iterator

_PER_TARGET: Final = 2  # descriptors
_MANY_TARGETS: Final = 1000
_ROOT: Final = Path("/sys/fs/cgroup")
_OWN: Final = Path("/proc/self/cgroup")


def limits(*, may_exceed: bool) -> Iterator[Finding]:
    """Tell of each; ``may_exceed``: RLIMIT_NPROC does not hold (copy_process, kernel/fork.c)."""
    yield _descriptors()
    yield _threads_of_cgroup()
    yield _threads_of_user(may_exceed=may_exceed)


def _descriptors() -> Finding:
    """The service raises the soft limit to the hard one by itself."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    here = f"the hard limit is {most}"
    targets = most // _PER_TARGET
    if targets >= _MANY_TARGETS or most == resource.RLIM_INFINITY:
        return Finding("descriptors", Verdict.FINE, here)
    return Finding(
        "descriptors",
        Verdict.LIMITS,
        here,
        f"fewer than {targets} targets can be held, connections and files take some as well",
        Cure(
            host="LimitNOFILE=20000 in the unit, ulimit -Hn 20000 in a shell of root's",
            docker="--ulimit nofile=20000:20000",
            kubernetes="there is no setting in a pod: LimitNOFILE= of the node's runtime",
        ),
    )


def _most_threads() -> int:
    """Threads that work at the same time, and those that hang; docs/architecture.md."""
    bounds = Limits()
    return bounds.access_threads + bounds.nowait_threads + bounds.max_stuck_threads


def _fewer(most: int) -> str:
    return (
        f"the service has up to {_most_threads()} threads, most of them for reads that hang; with "
        f"{most} such reads may leave no thread for others"
    )


_FEWER_THREADS: Final = "or --access-threads and --max-stuck-threads lower"


def _threads_of_cgroup() -> Finding:
    gate = "pids.max"
    most = cgroup_limits.lowest("pids", "pids.max", "pids.max", _ROOT, _OWN)
    if most is None or most > _most_threads():
        here = "the cgroup has no limit of threads" if most is None else f"{most} threads"
        return Finding(gate, Verdict.FINE, here)
    return Finding(
        gate,
        Verdict.LIMITS,
        f"the cgroup may have {most} processes and threads",
        _fewer(most),
        Cure(
            host=f"TasksMax=512 in the unit, {_FEWER_THREADS}",
            docker=f"--pids-limit 512, {_FEWER_THREADS}",
            kubernetes=f"podPidsLimit: 512 of the kubelet, {_FEWER_THREADS}",
        ),
    )


def _threads_of_user(*, may_exceed: bool) -> Finding:
    gate = "RLIMIT_NPROC"
    soft = resource.getrlimit(resource.RLIMIT_NPROC)[0]
    here = "none" if soft == resource.RLIM_INFINITY else f"{soft} of one user's"
    if may_exceed or soft == resource.RLIM_INFINITY or soft > _most_threads():
        return Finding(gate, Verdict.FINE, f"{here}, which does not hold" if may_exceed else here)
    return Finding(
        gate,
        Verdict.LIMITS,
        f"user {os.getuid()} may have {soft} processes and threads",
        _fewer(soft),
        Cure(
            host=f"LimitNPROC=1024 in the unit, ulimit -u 1024, {_FEWER_THREADS}",
            docker=f"--ulimit nproc=1024:1024, {_FEWER_THREADS}",
            kubernetes=f"LimitNPROC= of the node's runtime, {_FEWER_THREADS}",
        ),
    )
