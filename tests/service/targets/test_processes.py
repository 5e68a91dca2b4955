"""Finding processes by what they are, and telling who they are."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from farpeek.errors import AmbiguousMatch, DeadlineExceeded, NoSuchProcess
from farpeek.model import Match
from farpeek.targets import processes
from support.namespaces import can_have_a_private_pid_namespace
from support.targets import Target, build, start
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from farpeek.memory import MemoryService

ID = "3f2a" * 16
OTHER_ID = "0123456789abcdef" * 4
USER = 1234

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user needs root")


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """Return a program that nobody else runs."""
    return Path(shutil.copy(build("plain"), tmp_path / "Only-Here"))


def soon() -> float:
    return time.monotonic() + 10


def pids(match: Match) -> list[int]:
    return [identity.pid for identity in processes.find(match, soon())]


def test_globs_fit_whole_values_and_case_counts(program: Path) -> None:
    with Target("plain", program=program) as target:
        folder = program.parent
        for pattern in (str(program), f"{folder}/*", f"{folder}/Only-?ere", f"{folder}/[NO]nly*"):
            assert pids(Match(exe=pattern)) == [target.pid], pattern
        for pattern in ("Only-Here", f"{folder}/only-here", f"{folder}/Only", f"{folder}/[!O]*"):
            assert pids(Match(exe=pattern)) == [], pattern
        assert pids(Match(exe=str(program), comm="Only-*")) == [target.pid]
        assert pids(Match(exe=str(program), comm="only-*")) == []


@needs_root
def test_all_selectors_that_are_given_have_to_fit() -> None:
    with start("plain", "--uid", USER, "--name", "wanted") as one, start("plain", "--uid", USER):
        assert pids(Match(uid=USER, comm="wanted")) == [one.pid]
        assert len(pids(Match(uid=USER))) == 2
        assert pids(Match(uid=USER + 1, comm="wanted")) == []
        assert pids(Match(uid=USER, comm="wanted", container="*")) == []


async def test_a_match_holds_the_one_process_that_fits(
    service: MemoryService, program: Path
) -> None:
    match = Match(exe=str(program))
    with pytest.raises(NoSuchProcess):
        await service.registering.by_match(match, None, "")
    with Target("plain", program=program) as target:
        snapshot, created = await service.registering.by_match(match, {"a": "b"}, "")
        assert (snapshot.identity.pid, created) == (target.pid, True)
        assert snapshot.claim_of("").labels == {"a": "b"}
        again, created = await service.registering.by_match(match, None, "")
        assert (again.id, created, again.claim_of("").labels) == (snapshot.id, False, {"a": "b"})
        with Target("plain", program=program) as second:
            with pytest.raises(AmbiguousMatch) as caught:
                await service.registering.by_match(match, None, "")
            candidates = {each.identity.pid: each.target for each in caught.value.candidates}
            assert candidates == {target.pid: snapshot.id, second.pid: None}
        target.kill()
        target.await_zombie()
        with pytest.raises(NoSuchProcess):
            await service.registering.by_match(match, None, "")


@contextmanager
def in_a_pid_namespace(program: Path) -> Iterator[None]:
    command = ["unshare", "--pid", "--fork", "--kill-child", program]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as unshare:
        try:
            yield
        finally:
            unshare.kill()


@pytest.mark.skipif(
    not can_have_a_private_pid_namespace(),
    reason="a pid namespace of its own needs CAP_SYS_ADMIN",
)
async def test_both_numbers_are_told_of_a_process_in_a_pid_namespace(
    service: MemoryService, program: Path
) -> None:
    with in_a_pid_namespace(program):
        until(lambda: pids(Match(exe=str(program))), "it runs")
        snapshot, _ = await service.registering.by_match(Match(exe=str(program)), None, "")
        assert snapshot.identity.ns_pids == (snapshot.identity.pid, 1)
    with start("plain") as target:
        outside, _ = await service.register(target.pid)
        assert outside.identity.ns_pids == (target.pid,)


@pytest.mark.parametrize(
    ("text", "cgroup", "container"),
    [
        ("0::/\n", "/", None),
        (f"0::/system.slice/docker-{ID}.scope\n", f"/system.slice/docker-{ID}.scope", ID),
        (f"0::/kubepods/burstable/pod1/{ID}\n", f"/kubepods/burstable/pod1/{ID}", ID),
        (f"0::/a.slice/cri-containerd-{ID}.scope\n", f"/a.slice/cri-containerd-{ID}.scope", ID),
        (f"0::/a.slice/crio-{ID}.scope/container\n", f"/a.slice/crio-{ID}.scope/container", ID),
        (
            f"0::/libpod-{ID}.scope/libpod-{OTHER_ID}\n",
            f"/libpod-{ID}.scope/libpod-{OTHER_ID}",
            OTHER_ID,
        ),
        (f"0::/docker/{ID[1:]}\n", f"/docker/{ID[1:]}", None),
        (f"0::/docker/a{ID}\n", f"/docker/a{ID}", None),
        # The first version's hierarchies beside an unused second one.
        (f"9:name=systemd:/\n4:memory:/docker/{ID}\n0::/\n", f"/docker/{ID}", ID),
        ("9:name=systemd:/user.slice\n4:memory:/\n", "/user.slice", None),
        ("9:name=systemd:/\n0::/with:colon\n", "/with:colon", None),
        ("", None, None),
    ],
)
def test_a_container_is_told_by_the_path_of_its_cgroup(
    monkeypatch: pytest.MonkeyPatch,
    program: Path,
    text: str,
    cgroup: str | None,
    container: str | None,
) -> None:
    monkeypatch.setattr(processes, "_cgroup", lambda _proc: text)
    with Target("plain", program=program):
        (found,) = processes.find(Match(exe=str(program)), soon())
        assert (found.cgroup, found.container) == (cgroup, container)
        assert bool(pids(Match(exe=str(program), container="3f2a*"))) == (container == ID)


@needs_root
def test_a_process_is_found_by_its_cgroup_and_container(program: Path) -> None:
    with a_cgroup() as group, Target("plain", program=program) as target:
        (group / "cgroup.procs").write_text(f"{target.pid}\n")
        (found,) = processes.find(Match(container=f"{OTHER_ID[:12]}*"), soon())
        assert (found.pid, found.container) == (target.pid, OTHER_ID)
        assert found.cgroup is not None
        assert found.cgroup.endswith(group.name)
        assert pids(Match(cgroup=f"*/{group.name}")) == [target.pid]
        target.end()


@contextmanager
def a_cgroup() -> Iterator[Path]:
    """Make a cgroup that is called as a container's is."""
    for root in ("/sys/fs/cgroup", "/sys/fs/cgroup/unified"):
        group = Path(root) / f"docker-{OTHER_ID}.scope"
        if (Path(root) / "cgroup.procs").exists():
            try:
                group.mkdir()
            except OSError:
                continue
            try:
                yield group
            finally:
                until(lambda: not (group / "cgroup.procs").read_text(), "nobody is in it")  # noqa: B023 - ends here
                group.rmdir()
            return
    pytest.skip("no cgroup can be made here")


def test_a_list_looks_at_its_deadline_for_each_process() -> None:
    with pytest.raises(DeadlineExceeded, match="0 processes had been looked at"):
        processes.find(Match(), time.monotonic())


def test_a_process_in_the_middle_of_an_execve_has_pointers_of_some_size() -> None:
    with start("execs") as target:
        for _ in range(500):
            process, identity = processes.hold(target.pid)
            os.close(process.pidfd)
            assert identity.pointer_size == ctypes.sizeof(ctypes.c_void_p)
