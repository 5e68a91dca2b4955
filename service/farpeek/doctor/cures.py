"""Cures that several findings share."""

from __future__ import annotations

from typing import Final

from farpeek.doctor.findings import Cure

FOR_WRITES: Final = frozenset({"process_vm_writev", "ptrace", "mlock"})
"""Calls that only deploy/seccomp/farpeek-writes.json allows."""


def allow(call: str) -> Cure:
    """Let a seccomp filter allow a call.

    Without no_new_privs runc installs the filter early, and makes calls itself that the profiles
    do not have (chdir, setgroups).
    """
    profile = "farpeek-writes.json" if call in FOR_WRITES else "farpeek.json"
    return Cure(
        host=f"SystemCallFilter={call} in the unit; deploy/systemd has a unit with all of them",
        docker=f"--security-opt seccomp=deploy/seccomp/{profile} --security-opt no-new-privileges",
        kubernetes=f"seccompProfile: {{type: Localhost, localhostProfile: {profile}}}, with "
        f"deploy/seccomp/{profile} in the folder seccomp of the kubelet's root, and "
        "allowPrivilegeEscalation: false",
    )


def grant(*names: str) -> Cure:
    """Give the service capabilities (their names without CAP_).

    A runtime's `add` alone gives them to root: another user has to have them ambient, as systemd
    makes them, or by the file that is executed, as the image `ptrace` has SYS_PTRACE.
    """
    full = " ".join(f"CAP_{name}" for name in names)
    flags = " ".join(f"--cap-add {name}" for name in names)
    other = "another user needs the image `ptrace`" if names == ("SYS_PTRACE",) else "for root only"
    added = f"{{add: [{', '.join(names)}]}}"
    return Cure(
        host=f"run as root, or AmbientCapabilities={full} with CapabilityBoundingSet={full}",
        docker=f"{flags} with --user 0; {other}",
        kubernetes=f"securityContext: {{runAsUser: 0, capabilities: {added}}}; {other}",
    )
