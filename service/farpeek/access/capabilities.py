"""What this kernel and these privileges can do, and how that is told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from farpeek.model import Capability, NowaitCheck

if TYPE_CHECKING:
    from collections.abc import Mapping

_OWN_FLAG = "asked with NULL iovecs: EINVAL where the flag is unknown, EFAULT where it is known"


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What was found at start. The first fields are facts; `as_mapping` is what they mean."""

    process_vm: bool  # process_vm_readv is there, and lets us read ourselves
    process_vm_problem: str
    flag_pidfd: bool
    flag_nowait: bool
    exit_status: bool
    hangs_up: bool  # a pidfd, when its process is reaped
    asks_for_reaps: bool  # signal 0 finds nobody then
    pagemap: bool  # of our own; another user's may be closed to us all the same
    pagemap_scan: bool
    guards: bool
    makes_guards: bool  # the kernel lets programs have guard pages at all
    procmap_query: bool
    map_files: bool  # may be opened
    open_cached: bool  # openat2 with RESOLVE_CACHED
    madvise: bool
    sys_nice: bool
    ptrace: bool
    nodes: bool  # move_pages tells of other users' processes, whose pagemap is closed to us

    @property
    def sees_protection(self) -> bool:
        """Whether pagemap tells which pages a userfaultfd handler protects (5.14).

        To try it takes a userfaultfd, which is often refused; PAGEMAP_SCAN is younger.
        """
        return self.pagemap_scan

    @property
    def prefetch(self) -> bool:
        """Whether another process's pages can be asked for."""
        return self.madvise and self.sys_nice

    def nowait_rung(self) -> str:
        """How `nowait` is emulated here: how page tables are seen, and how files are opened."""
        residency = "PAGEMAP_SCAN" if self.pagemap_scan else "pagemap"
        if self.nodes:
            residency += " (move_pages for other users)"
        if self.map_files:
            return f"{residency} + map_files"
        return f"{residency} + verified path" if self.open_cached else f"{residency} alone"

    def as_mapping(self, check: NowaitCheck = NowaitCheck.AUTO) -> dict[str, Capability]:
        """Every capability by the name that `GET /v1/info` gives it."""
        return {
            "process_vm": self._process_vm(),
            "pidfd": self._pidfd(),
            "nowait": self._nowait(check),
            "write": self._write(),
            "exit_status": self._exit_status(),
            "reap": self._reap(),
            "residency": self._residency(),
            "guards": self._guards(),
            "build_id": self._build_id(),
            "prefetch": self._prefetch(),
            "generation": self._generation(),
        }

    def _generation(self) -> Capability:
        if not self.pagemap:
            return Capability("unavailable", "none", "/proc/self/pagemap cannot be opened")
        return Capability(
            "emulated",
            "AT_RANDOM + pagemap",
            "the random bytes of a program are looked at behind each read; other users' targets "
            "need CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH, and their generation is null without",
        )

    def _process_vm(self) -> Capability:
        if self.process_vm:
            return Capability("native", "process_vm_readv", "read a page of its own")
        return Capability("unavailable", "none", self.process_vm_problem)

    def _pidfd(self) -> Capability:
        if self.flag_pidfd:
            return Capability("native", "PROCESS_VM_PIDFD", _OWN_FLAG)
        return Capability(
            "emulated",
            "by number, then probe and pidfd",
            "the kernel has no PROCESS_VM_PIDFD: reads go by number, and are believed only if "
            "afterwards the memory is still there and the pidfd is not readable",
        )

    def _nowait(self, check: NowaitCheck) -> Capability:
        if self.flag_nowait:
            return Capability("native", f"PROCESS_VM_NOWAIT, residency checked: {check}", _OWN_FLAG)
        if not self.pagemap:
            return Capability(
                "unavailable",
                "none",
                "the kernel has no PROCESS_VM_NOWAIT, and no /proc/PID/pagemap to emulate it by",
            )
        return Capability(
            "emulated",
            self.nowait_rung(),
            "the kernel has no PROCESS_VM_NOWAIT: only pages are read that were in the page table "
            "or in the page cache a moment before; other users' targets need CAP_SYS_PTRACE and "
            "CAP_DAC_READ_SEARCH",
        )

    def _write(self) -> Capability:
        if self.flag_pidfd:
            return Capability("native", "PROCESS_VM_PIDFD", _OWN_FLAG)
        if not self.ptrace:
            return Capability(
                "unavailable",
                "none",
                "the kernel has no PROCESS_VM_PIDFD, and ptrace is refused (seccomp): a process "
                "could not be kept from being replaced by another of its number; "
                "deploy/seccomp/farpeek-writes.json allows it",
            )
        return Capability(
            "emulated",
            "pinned by PTRACE_SEIZE",
            "the kernel has no PROCESS_VM_PIDFD: the target is traced, never stopped, for as long "
            "as a call takes to find it, so that its number stays its own",
        )

    def _exit_status(self) -> Capability:
        if self.exit_status:
            return Capability("native", "PIDFD_GET_INFO", "told of children and others")
        return Capability(
            "emulated",
            "waitid with WNOWAIT",
            "PIDFD_GET_INFO does not tell it (before 6.15): known of the service's children only",
        )

    def _reap(self) -> Capability:
        if self.hangs_up:
            return Capability("native", "POLLHUP", "the pidfd hangs up")
        if self.asks_for_reaps:
            return Capability(
                "emulated",
                "pidfd_send_signal, by a timer",
                "no pidfd hangs up (before 6.9): it is asked ten times a second whether a process "
                "that has exited can be sent signal 0 still",
            )
        return Capability(
            "unavailable",
            "none",
            "no pidfd hangs up (before 6.9), and pidfd_send_signal is refused: a target stays "
            "`exited` until its time is over",
        )

    def _guards(self) -> Capability:
        if self.guards:
            return Capability("native", "PAGE_IS_GUARD", "told by PAGEMAP_SCAN")
        if self.makes_guards:
            return Capability(
                "emulated",
                "swap entries",
                "PAGEMAP_SCAN does not tell them (before 6.15): they look swapped out, and what "
                "they are is told with CAP_SYS_ADMIN alone, or where there is no swap",
            )
        return Capability("unavailable", "none", "no program has guard pages here (before 6.13)")

    def _residency(self) -> Capability:
        if not self.pagemap:
            return Capability("unavailable", "none", "/proc/self/pagemap cannot be opened")
        if self.pagemap_scan:
            guards = "with" if self.guards else "without"
            return Capability("native", "PAGEMAP_SCAN", f"{guards} guard pages")
        return Capability(
            "emulated",
            "pagemap",
            "PAGEMAP_SCAN is missing (before 6.7); a nowait write leaves mappings alone in which a "
            "userfaultfd handler protects pages",
        )

    def _build_id(self) -> Capability:
        return Capability(
            "emulated",
            "ELF notes",
            "read from memory or the page cache, where they are; mode=wait reads them in",
        )

    def _prefetch(self) -> Capability:
        if self.prefetch:
            return Capability("native", "process_madvise(MADV_WILLNEED)", "through the pidfd")
        missing = "CAP_SYS_NICE" if self.madvise else "process_madvise"
        return Capability("unavailable", "none", f"{missing} is missing")


_OF_A_KERNEL: Final = (
    *("process_vm", "pidfd", "nowait", "write", "exit_status", "reap", "residency", "guards"),
    "prefetch",
)


def lacking(capabilities: Mapping[str, Capability]) -> str:
    """Say in a line what this kernel, or these privileges, lack, and what is done instead."""
    parts: list[str] = []
    for name in _OF_A_KERNEL:
        found = capabilities[name]
        if found.provided == "emulated":
            parts.append(f"{name}: {found.technique}")
        elif found.provided == "unavailable":
            parts.append(f"no {name} ({found.detail})")
    return "; ".join(parts)
