"""The runtime of these tests is as strict as that of Kubernetes; else they would prove little."""

from __future__ import annotations

from support.podman import BASE, PTRACE, podman

SYS_PTRACE = f"{1 << 19:016x}"
NONE = f"{0:016x}"

_AS_1000 = ("--rm", "--network", "none", "--user", "1000:1000", "--cap-drop", "ALL")
_ENTRY = ("--entrypoint", "/opt/farpeek/bin/python3")
_SHOW = "print(open('/proc/self/status').read())"


def capabilities(*arguments: str) -> dict[str, str]:
    """Return the sets of a process that prints its own status."""
    lines = podman(*arguments).stdout.splitlines()
    return dict(line.split(":\t") for line in lines if line.startswith(("Cap", "NoNewPrivs")))


def test_a_capability_without_a_file_capability_is_lost_on_exec() -> None:
    found = capabilities("run", *_AS_1000, "--cap-add", "SYS_PTRACE", BASE, "python3", "-c", _SHOW)
    assert found["CapBnd"] == SYS_PTRACE
    assert found["CapEff"] == found["CapPrm"] == found["CapAmb"] == found["CapInh"] == NONE


def test_a_file_capability_keeps_it_even_without_new_privileges() -> None:
    flags = ("--cap-add", "SYS_PTRACE", "--security-opt", "no-new-privileges")
    found = capabilities("run", *_AS_1000, *flags, *_ENTRY, PTRACE, "-c", _SHOW)
    assert found["NoNewPrivs"] == "1"
    assert found["CapEff"] == found["CapPrm"] == found["CapBnd"] == SYS_PTRACE
    assert found["CapAmb"] == NONE


def test_it_is_lost_through_a_shell() -> None:
    flags = ("--cap-add", "SYS_PTRACE", "--security-opt", "no-new-privileges")
    shell = ("--entrypoint", "/bin/sh")
    script = f'exec /opt/farpeek/bin/python3 -c "{_SHOW}"'
    found = capabilities("run", *_AS_1000, *flags, *shell, PTRACE, "-c", script)
    # The shell has lost it, and nobody gains what they have not.
    assert (found["CapEff"], found["CapBnd"]) == (NONE, SYS_PTRACE)
