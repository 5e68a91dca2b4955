"""The privilege table of deploy/README.md: what is taken away, and what the service then answers.

Each row runs the farpeek container of a manifest with one thing changed, and asks it for all that
there is. `make privilege-table` measures the rows and writes them, and test_privileges.py measures
each again.
"""

from __future__ import annotations

import copy
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from support import podman
from support.kubelet import Pod, pod_spec
from support.objects import TOKEN, objects
from support.podman import Foreground
from support.policies import EVERYTHING, entry
from support.targets import build

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.kubelet import Spec
    from support.serving import Reply

README = Path(__file__).resolve().parents[2] / "deploy" / "README.md"
BEGIN, END = "<!-- privileges: begin -->\n", "<!-- privileges: end -->\n"
HEAD = (
    *("manifest", "taken away or changed", "register", "`wait`", "`nowait`", "maps", "residency"),
    *("write", "prefetch", "exit"),
)

_OTHER = ("--uid", "4242", "--gid", "4242")
_SAME = ("--uid", "1000", "--gid", "1000")
_ALL = f"targets = {EVERYTHING}"
_KILL = "5"  # CAP_KILL: one that podman's containers have and farpeek's have not


@dataclass(frozen=True, slots=True)
class Case:
    """One row: a manifest, what is different, and the target (flags of tests/targets/plain.c)."""

    manifest: str
    what: str
    target: tuple[str, ...] = _OTHER
    change: Callable[[Spec], None] = field(default=lambda _: None)

    @property
    def name(self) -> str:
        return f"{self.manifest}: {self.what}"


def _context(spec: Spec) -> Spec:
    """Return the security context of farpeek's container."""
    (found,) = (each for each in spec["containers"] if each["name"] == "farpeek")
    context: Spec = found["securityContext"]
    return context


def _adds(*names: str) -> Callable[[Spec], None]:
    def change(spec: Spec) -> None:
        _context(spec)["capabilities"]["add"] = list(names)

    return change


def _default(spec: Spec) -> None:
    _context(spec)["capabilities"] = {"drop": []}


def _plain_image(spec: Spec) -> None:
    for each in spec["containers"]:
        if each["name"] == "farpeek":
            each["image"] = "farpeek:latest"


def _without_group(spec: Spec) -> None:
    del spec["securityContext"]["runAsGroup"]


def _not_shared(spec: Spec) -> None:
    spec["shareProcessNamespace"] = False


def _own_pids(spec: Spec) -> None:
    spec["hostPID"] = False
    spec["shareProcessNamespace"] = False


def _seccomp(*refused: str) -> Callable[[Spec], None]:
    """Take system calls out of the default profile; the file is with podman's, until it goes."""

    def change(spec: Spec) -> None:
        profile = json.loads(Path("/usr/share/containers/seccomp.json").read_text())
        for rule in profile["syscalls"]:
            rule["names"] = [name for name in rule["names"] if name not in refused]
        path = podman.HOME / f"seccomp-{'-'.join(refused)}.json"
        path.write_text(json.dumps(profile))
        _context(spec)["seccompProfile"] = {"type": "Localhost", "localhostProfile": str(path)}

    return change


CASES = (
    Case("sidecar.yaml", "nothing", _SAME),
    Case("sidecar.yaml", "`runAsGroup`", _SAME, _without_group),
    Case("sidecar.yaml", "the target has another uid"),
    Case("sidecar.yaml", "the target is not dumpable", (*_SAME, "--nondumpable")),
    Case("sidecar.yaml", "the target has a capability", (*_SAME, "--capability", _KILL)),
    Case("sidecar.yaml", "`shareProcessNamespace`", _SAME, _not_shared),
    Case("sidecar.yaml", "process_vm_readv, by seccomp", _SAME, _seccomp("process_vm_readv")),
    Case("sidecar.yaml", "ptrace, by seccomp", _SAME, _seccomp("ptrace")),
    Case("sidecar-ptrace.yaml", "nothing"),
    Case("sidecar-ptrace.yaml", "nothing; the target is not dumpable", (*_OTHER, "--nondumpable")),
    Case("sidecar-ptrace.yaml", "the image's file capability", change=_plain_image),
    Case("sidecar-ptrace.yaml", "SYS_PTRACE", change=_adds()),
    Case(
        "daemonset.yaml",
        "nothing; CHECKPOINT_RESTORE and SYS_NICE added",
        change=_adds("SYS_PTRACE", "DAC_READ_SEARCH", "CHECKPOINT_RESTORE", "SYS_NICE"),
    ),
    Case("daemonset.yaml", "nothing"),
    Case("daemonset.yaml", "DAC_READ_SEARCH", change=_adds("SYS_PTRACE")),
    Case("daemonset.yaml", "SYS_PTRACE", change=_adds("DAC_READ_SEARCH")),
    Case("daemonset.yaml", "all; the target is root with default capabilities", (), _adds()),
    Case("daemonset.yaml", "all, for a runtime's default capabilities", change=_default),
    Case("daemonset.yaml", "the same; the target is root with them too", (), _default),
    Case("daemonset.yaml", "`hostPID`", change=_own_pids),
)


def measure(case: Case) -> tuple[str, ...]:
    """Run a row; its cells."""
    spec = copy.deepcopy(pod_spec(case.manifest))
    profile = spec["securityContext"]["seccompProfile"]
    if profile["type"] == "Localhost":  # as the manifest says for writes
        profile["localhostProfile"] = "farpeek-writes.json"
    case.change(spec)
    for each in spec["containers"]:
        if each["name"] == "farpeek":
            each["env"].append({"name": "FARPEEK_ALLOW_WRITES", "value": "true"})
    present = objects(policy={"policy.toml": entry("tests", TOKEN, rest=_ALL).encode()})
    with Pod(spec, only=("farpeek",), present=present) as pod:
        if not pod.gets_ready():
            reason = pod["farpeek"].log.strip().rpartition(": ")[2]
            return (case.manifest, case.what, f"does not start: {reason}", *["-"] * 7)
        beside = () if spec.get("hostPID") else pod.beside
        flags = (*beside, "--user=0", f"--volume={build('plain')}:/plain:ro")
        command = ("/plain", "--name", "far-app", *case.target)
        with Foreground(podman.BASE, *command, flags=flags) as target:
            target.await_ready()
            return (case.manifest, case.what, *_ask(pod, target))


def _ask(pod: Pod, app: Foreground) -> tuple[str, ...]:
    """Ask for all that there is; the target ends in between."""
    registered = pod.request("POST", "/v1/targets", {"match": {"comm": "far-app"}})
    if registered.status != 201:
        return (_answer(registered), *["-"] * 7)
    path = f"/v1/targets/{registered.json['id']}"
    place: dict[str, Any] = {"addresses": [app["marker"]]}
    read = {**place, "lengths": 8}
    wait = pod.request("POST", f"{path}/readv", {**read, "mode": "wait"})
    nowait = pod.request("POST", f"{path}/readv", {**read, "mode": "nowait"})
    maps = f"{path}/maps?address={app['marker']}"
    listed = pod.request("GET", maps)
    resident = pod.request("GET", f"{maps}&residency=true")
    written = pod.request("POST", f"{path}/writev", {**place, "data": ["AAAAAAAAAAA="]})
    ahead = pod.request("POST", f"{path}/readv", {**read, "mode": "nowait", "prefetch": True})
    app.send("exit 7")
    ended = pod.request("GET", f"{path}?wait=exit&timeout_s=20").json
    return (
        _answer(registered),
        _answer(wait),
        _rung(nowait),
        _answer(listed),
        _answer(resident),
        _answer(written),
        _prefetch(pod, ahead),
        "yes" if ended["state"] in ("exited", "reaped") else ended["state"],
    )


def _answer(reply: Reply) -> str:
    if reply.status < 300:
        return "yes"
    return f"{reply.status} `{reply.json.get('gate') or reply.slug}`"


def _rung(reply: Reply) -> str:
    return str(reply.json["backend"]["rung"]) if reply.status == 200 else _answer(reply)


def _prefetch(pod: Pod, reply: Reply) -> str:
    """What a read that wants it is answered, where it is answered at all."""
    found = pod.request("GET", "/v1/info").json["capabilities"]["prefetch"]
    if reply.status == 200 and found["provided"] == "native":
        return "yes"
    return "no" if found["provided"] != "native" else _answer(reply)


def render(rows: list[tuple[str, ...]]) -> str:
    """Return the table in Markdown."""
    lines = [HEAD, ("---",) * len(HEAD), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def written() -> list[tuple[str, ...]]:
    """Return the rows of deploy/README.md."""
    table = README.read_text().partition(BEGIN)[2].partition(END)[0]
    return [tuple(line.strip("| \n").split(" | ")) for line in table.splitlines()[2:]]


def main() -> None:
    """Measure all rows, and print or write them."""
    table = render([measure(case) for case in CASES])
    if sys.argv[1:] != ["write"]:
        sys.stdout.write(table)
        return
    before, _, rest = README.read_text().partition(BEGIN)
    README.write_text(before + BEGIN + table + END + rest.partition(END)[2])


if __name__ == "__main__":
    main()
