"""Once it listens, the service has what it needs of its privileges, and nothing else."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from farpeek.kernel import capabilities, status
from farpeek_api.serving import privileges
from support.policies import EVERYTHING, As, Policed, entry
from support.serving import Service, refusing
from support.targets import start

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.targets import Target

NOBODY = 65_534
POLICY = entry("a", "t", rest=f"targets = {EVERYTHING}")
SETS = (b"CapInh", b"CapPrm", b"CapEff", b"CapBnd", b"CapAmb")

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root has something to give up")


def held(*names: str) -> int:
    """What this process has of what is needed and of these: a container may lack some."""
    has = int(status.fields("/proc/self")[b"CapEff"], 16)
    return has & capabilities.mask([*privileges.NEEDED, *names])


def of_threads(pid: int) -> set[tuple[bytes, ...]]:
    """What each thread of a process has: its sets, and whether it may gain any."""
    found: set[tuple[bytes, ...]] = set()
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            fields = status.fields(str(task))
        except OSError:
            continue
        found.add((*(fields[name] for name in SETS), fields[b"NoNewPrivs"]))
    return found


def expected(permitted: int, bounding: int | None = None) -> tuple[bytes, ...]:
    masks = (0, permitted, permitted, permitted if bounding is None else bounding, 0)
    return (*(b"%016x" % mask for mask in masks), b"1")


@pytest.fixture
def other() -> Iterator[Target]:
    """A process of another user, that is not dumpable."""
    with start("plain", "--uid", 4242, "--gid", 4242, "--nondumpable", "--marker", 7) as target:
        yield target


def test_all_threads_of_roots_have_what_is_needed_and_can_gain_nothing(folder: Path) -> None:
    with start("plain") as target, Policed(folder, POLICY) as service:
        proc = Path(f"/proc/{service.process.pid}/task")
        before = len(list(proc.iterdir()))
        client = As(service, "t")
        made = client.register(target.pid).json["id"]
        with ThreadPoolExecutor(8) as several:
            reads = [
                several.submit(client.read, made, target["marker"], mode=mode)
                for mode in ("wait", "nowait") * 40
            ]
            assert {each.result().status for each in reads} == {200}
        span = f"bytes={target['marker']}-{target['marker'] + 99}"
        bulk = client.request("GET", f"/v1/targets/{made}/memory", headers={"Range": span})
        assert bulk.status == 206
        service.reload(POLICY)  # in a thread of its own
        assert len(list(proc.iterdir())) > before, "threads have come"
        assert of_threads(service.process.pid) == {expected(held())}


def test_a_root_service_does_all_that_it_can_afterwards(folder: Path, other: Target) -> None:
    with Service(folder, "--allow-writes") as service:
        target = service.register(other.pid)
        marker = other["marker"]
        for mode in ("wait", "nowait"):
            reply = service.read(target, marker, 8, mode=mode, encoding="hex")
            assert (reply.status, reply.json["data"]) == (200, "0700000000000000")
        found = service.request("GET", "/v1/info").json["capabilities"]
        assert "map_files" in found["nowait"]["technique"]
        assert found["prefetch"]["provided"] == "native"
        listed = service.request("GET", f"/v1/targets/{target}/maps?residency=true").json
        assert listed["mappings"]
        written = {"addresses": [hex(marker)], "data": ["CQAAAAAAAAA="]}
        reply = service.request("POST", f"/v1/targets/{target}/writev", written)
        assert (reply.status, reply.json["verified"]) == (200, True), reply
        findings = service.request("GET", f"/v1/doctor?pid={other.pid}").json["findings"]
        told = {each["gate"]: each["verdict"] for each in findings}
        for name in privileges.NEEDED:
            assert told[f"CAP_{name}"] == "fine"
        assert "blocks" not in told.values()


def test_a_policy_of_roots_is_read_again_though_dac_override_is_gone(folder: Path) -> None:
    with Policed(folder, POLICY) as service:
        assert As(service, "u").request("GET", "/v1/info").status == 401
        service.reload(POLICY + entry("b", "u"))
        assert As(service, "u").request("GET", "/v1/info").status == 200


def test_what_is_named_is_kept_and_all_keeps_all(folder: Path) -> None:
    with Service(folder, "--keep-capabilities", "cap_fowner") as service:
        kept = held("FOWNER")
        assert of_threads(service.process.pid) == {expected(kept)}
    with Service(folder, "--keep-capabilities", "all") as service:
        kept = held(*capabilities.NAMES)
        assert of_threads(service.process.pid) == {expected(kept)}


def test_dac_override_stands_in_where_dac_read_search_was_not_given(
    folder: Path, other: Target
) -> None:
    with Service(folder, without=["dac_read_search"]) as service:
        kept = held(privileges.STAND_IN)
        kept &= ~capabilities.mask(["DAC_READ_SEARCH"])
        assert of_threads(service.process.pid) == {expected(kept)}
        target = service.register(other.pid)
        reply = service.read(target, other["marker"], 8, mode="nowait")
        assert reply.json["complete"] is True


def test_without_sys_ptrace_all_are_kept_so_that_a_target_with_as_many_is_read(
    folder: Path,
) -> None:
    chown = capabilities.NAMES.index("CHOWN")
    with (
        start("plain", "--capability", chown, "--marker", 7) as target,
        Service(folder, without=["sys_ptrace"]) as service,
    ):
        kept = held(*capabilities.NAMES) & ~capabilities.mask(["SYS_PTRACE"])
        assert of_threads(service.process.pid) == {expected(kept)}
        reply = service.read(service.register(target.pid), target["marker"], 8)
        assert reply.json["complete"] is True


def test_another_user_gains_nothing_and_still_watches_its_own_threads(folder: Path) -> None:
    with Service(folder, uid=NOBODY) as service:
        bounding = int(status.fields("/proc/self")[b"CapBnd"], 16)
        assert of_threads(service.process.pid) == {expected(0, bounding)}
        # The files of one that is not dumpable are root's, and it could not read its own.
        assert Path(f"/proc/{service.process.pid}/syscall").stat().st_uid == NOBODY


_READ = """
import sys
from farpeek.kernel import uapi
print(uapi.probe_memory(int(sys.argv[1])))
"""


def test_the_same_user_cannot_look_into_a_root_service(folder: Path) -> None:
    """Without SYS_PTRACE on either side: that would decide before."""
    with Service(folder, without=["sys_ptrace"]) as service:
        assert look_into(service.process.pid) == -errno.EPERM
        # Unlike one that is dumpable, with no more capabilities than the one who asks.
        with start("plain", "--capability", capabilities.NAMES.index("DAC_READ_SEARCH")) as plain:
            assert look_into(plain.pid) == -errno.EFAULT


def look_into(pid: int) -> int:
    """Read a byte at address 0 of a process, as root without SYS_PTRACE."""
    command = ("setpriv", "--bounding-set", "-sys_ptrace", sys.executable, "-c", _READ, str(pid))
    return int(subprocess.run(command, capture_output=True, timeout=60, check=True).stdout)


@pytest.mark.parametrize("uid", [None, NOBODY])
def test_it_leaves_no_core(folder: Path, uid: int | None) -> None:
    before = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (before[1], before[1]))
    try:
        with Service(folder, uid=uid) as service:
            proc = Path(f"/proc/{service.process.pid}")
            assert int((proc / "coredump_filter").read_text(), 16) == 0, "for a pipe: no memory"
            service.process.send_signal(signal.SIGABRT)
            _, ended = os.waitpid(service.process.pid, 0)
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, before)
    assert os.WTERMSIG(ended) == signal.SIGABRT
    assert not os.WCOREDUMP(ended)


def test_it_does_not_start_where_it_cannot_give_them_up(folder: Path) -> None:
    command = [*refusing("capset"), sys.executable, "-m", "farpeek_api", "serve"]
    done = subprocess.run(
        [*command, "--listen", f"unix:{folder}/run/x.sock"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "cannot give up privileges (capset: Operation not permitted)" in done.stderr
    assert not (folder / "run" / "x.sock").exists()


def test_a_name_that_is_none_is_refused() -> None:
    command = [sys.executable, "-m", "farpeek_api", "serve", "--keep-capabilities", "nope"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "there is no capability 'NOPE'" in done.stderr
