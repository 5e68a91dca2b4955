"""The whole examination."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from farpeek.access.probe import probe
from farpeek.doctor import calls, kernel, limits, privileges, proc, surroundings, trial
from farpeek.doctor.findings import Finding, Verdict, worst_first
from farpeek.kernel import capabilities

if TYPE_CHECKING:
    from farpeek.access.capabilities import Capabilities

_PTRACE: Final = capabilities.mask(["SYS_PTRACE"])
_MAY_EXCEED: Final = capabilities.mask(["SYS_RESOURCE", "SYS_ADMIN"])


def examine(pid: int | None = None, found: Capabilities | None = None) -> list[Finding]:
    """Ask every gate, and try a child, and process ``pid``; the worst comes first.

    ``found`` is what is known of the kernel already. Takes some 200 ms; makes a child or two.
    """
    findings = list(kernel.start())
    if any(each.verdict is Verdict.BLOCKS for each in findings):
        return worst_first(findings)  # without /proc and pidfds nothing else can be asked
    findings += kernel.features(found or probe())
    effective = privileges.effective()
    has_ptrace = bool(effective & _PTRACE)
    findings += privileges.privileges()
    findings += surroundings.surroundings(has_ptrace=has_ptrace)
    findings += [proc.hidepid(has_ptrace=has_ptrace), proc.subset()]
    findings += limits.limits(may_exceed=bool(effective & _MAY_EXCEED))
    child, outcomes = trial.child()
    findings.append(child)
    if outcomes is not None:
        findings += calls.refused(outcomes)
    if pid is not None:
        findings += trial.process(pid)
    return worst_first(findings)
