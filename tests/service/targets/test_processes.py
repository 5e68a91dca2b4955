"""Finding processes by what they are, and telling who they are."""

from __future__ import annotations

import ctypes
import glob
import os
import shutil
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from farpeek.errors import AmbiguousMatch, DeadlineExceeded, NoSuchProcess
from farpeek.identity import Match
from farpeek.kernel import names
from farpeek.targets import executables, processes
from support.maps import on_hostfs
from support.namespaces import can_have_a_private_pid_namespace
from support.targets import Target, build, start
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from farpeek.memory import MemoryService

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


@needs_root
@pytest.mark.parametrize("separator", ["\x0b", "\r", "\x85", "\u2028"])
def test_a_groups_name_forges_neither_another_group_nor_a_container(
    program: Path, separator: str
) -> None:
    name = f"a{separator}0::"
    with a_cgroup(name) as group, Target("plain", program=program) as target:
        (group / "cgroup.procs").write_text(f"{target.pid}\n")
        (found,) = processes.find(Match(exe=str(program)), soon())
        assert found.cgroup is not None
        assert found.cgroup.endswith(f"/{name}")
        assert pids(Match(cgroup=f"*/{name}")) == [target.pid]
        target.end()


NAMES = [
    "caf\u00e9",
    "new\nline",
    "return\rvertical\x0btab",
    "next\u0085line",
    "back\\slash",
    "\\x41",
    " spaces ",
    "gone (deleted)",
]


@pytest.mark.parametrize("name", [*map(str.encode, NAMES), b"\xff\xfe", b"\xed\xa0\x80"])
def test_a_program_is_found_by_the_name_that_is_shown_whatever_it_is_called(
    program: Path, name: bytes
) -> None:
    if name.endswith(b" (deleted)") and on_hostfs():
        pytest.skip("on hostfs no name is looked up without waiting, and it counts as deleted")
    renamed = program.rename(os.fsdecode(os.fsencode(program.parent) + b"/" + name))
    with Target("plain", program=renamed) as target:
        (found,) = (each for each in processes.find(Match(), soon()) if each.pid == target.pid)
        assert found.exe == names.shown(os.fsencode(renamed))
        assert not found.exe_deleted
        assert pids(Match(exe=glob.escape(found.exe))) == [target.pid]
        assert found.comm == names.shown(name[:15])
        assert target.pid in pids(Match(comm=glob.escape(found.comm)))
        renamed.unlink()
        (deleted,) = (each for each in processes.find(Match(), soon()) if each.pid == target.pid)
        assert (deleted.exe, deleted.exe_deleted) == (found.exe, True)


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
def a_cgroup(name: str = f"docker-{OTHER_ID}.scope") -> Iterator[Path]:
    """Make a cgroup, called as a container's is."""
    for root in ("/sys/fs/cgroup", "/sys/fs/cgroup/unified"):
        group = Path(root) / name
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


def test_name_and_executable_are_of_one_program_whatever_is_executed_between_the_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vault, ruby = (
        Path(shutil.copy(build("changing"), tmp_path / name)) for name in ("vault", "ruby")
    )
    with Target("changing", program=vault) as process:
        look = executables.of

        def become_and_look(proc: str) -> tuple[str | None, bool]:
            monkeypatch.undo()
            process.send(f"become {ruby} 2")
            process.await_ready()
            return look(proc)

        monkeypatch.setattr(executables, "of", become_and_look)
        found = processes.identify(process.pid)
    assert found is not None
    assert (found.comm, found.exe) == ("ruby", str(ruby))


def test_a_list_looks_at_its_deadline_for_each_process() -> None:
    with pytest.raises(DeadlineExceeded, match="0 processes had been looked at"):
        processes.find(Match(), time.monotonic())


def test_a_process_in_the_middle_of_an_execve_has_pointers_of_some_size() -> None:
    with start("execs") as target:
        for _ in range(500):
            process, identity = processes.hold(target.pid)
            os.close(process.pidfd)
            assert identity.pointer_size == ctypes.sizeof(ctypes.c_void_p)
