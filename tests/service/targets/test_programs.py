"""execve: which program it was that was read, in a process that executes one after the other."""

from __future__ import annotations

import asyncio
import mmap
import os
import shutil
import subprocess
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from farpeek.errors import DeadlineExceeded, TargetChanged
from farpeek.identity import EventKind
from farpeek.kernel import uapi
from farpeek.mappings import auxv
from farpeek.model import Mode, RangeSpec, ReadSpec, Regions, Stage, WriteSpec
from farpeek.reading import lookups
from farpeek.targets import environments, processes
from farpeek.targets.programs import Programs
from support.asking import ask
from support.targets import SOURCES, Target, build, start

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from farpeek.identity import Process
    from farpeek.memory import MemoryService
    from farpeek.model import ReadResult

PAGE = mmap.PAGESIZE
READS = 3000

VARIANTS = {
    "pie": (["-pie", "-fPIE"], [], False),
    "no-pie": (["-no-pie", "-fno-pie"], [], False),
    # The same addresses each time: only the descriptor on its memory can tell.
    "no-pie, nothing random": (["-no-pie", "-fno-pie"], ["setarch", "-R"], False),
    "by a thread": (["-pie", "-fPIE"], [], True),
}


@pytest.fixture(params=VARIANTS)
def execs(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Target]:
    """A process that executes itself all the time, and says in its marker how often it has."""
    flags, prefix, by_thread = VARIANTS[request.param]
    program = tmp_path / "execs"
    command = ["gcc", "-O1", "-pthread", *flags, "-o", str(program), str(SOURCES / "execs.c")]
    subprocess.run(command, check=True)
    if prefix:
        script = tmp_path / "run"
        script.write_text(f'#!/bin/sh\nexec {" ".join(prefix)} {program} "$@"\n')
        script.chmod(0o755)
        program = script
    arguments = ["0", "thread"] if by_thread else []
    with Target("execs", *arguments, program=program) as target:
        yield target


class Seen:
    """Checks that each program was seen with one marker only, the later ones with higher ones."""

    def __init__(self) -> None:
        self.markers: dict[int, int] = {}

    def take(self, generation: int | None, data: bytes) -> None:
        assert generation is not None
        marker = int.from_bytes(data, "little")
        if not marker:  # the first program's, or mapped and not yet written
            return
        assert self.markers.setdefault(generation, marker) == marker
        latest = max(self.markers)
        assert max(self.markers.values()) == self.markers[latest]

    def take_result(self, result: ReadResult) -> None:
        if result.complete:  # there is none before it is mapped
            self.take(result.generation, bytes(result.data))


@pytest.mark.parametrize("mode", Mode)
async def test_no_read_gives_a_value_of_one_program_under_the_number_of_another(
    service: MemoryService, execs: Target, mode: Mode
) -> None:
    snapshot, _ = await service.register(execs.pid)
    spec = ReadSpec(Regions([execs["marker"]], [8]), mode)
    seen = Seen()
    for _ in range(READS):
        try:
            seen.take_result(await ask(service, snapshot.id, spec, 10))
        except DeadlineExceeded as error:  # an execve takes longer than `nowait` waits for one
            if mode is Mode.WAIT or error.stage is not Stage.EXIT:
                raise
    assert len(seen.markers) > 3


@pytest.mark.slow
@pytest.mark.parametrize("execs", ["by a thread"], indirect=True)
@pytest.mark.parametrize("_round", range(40))
async def test_it_gives_none_however_often_that_is_tried(
    service: MemoryService, execs: Target, _round: int
) -> None:
    """In the middle of an execve there is none: once in 50 that was taken for the last one."""
    snapshot, _ = await service.register(execs.pid)
    spec = ReadSpec(Regions([execs["marker"]], [8]), Mode.NOWAIT)
    seen = Seen()
    while len(seen.markers) < 30:
        with suppress(DeadlineExceeded):
            seen.take_result(await ask(service, snapshot.id, spec, 10))


async def test_a_program_that_nobody_reads_is_told_of_all_the_same(
    service: MemoryService, tmp_path: Path
) -> None:
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\nread line\nexec sleep 1000\n")
    script.chmod(0o755)
    with (
        subprocess.Popen([script], stdin=subprocess.PIPE) as process,  # noqa: ASYNC220 - in no time
        ExitStack() as stack,
    ):
        stack.callback(process.kill)
        snapshot, _ = await service.register(process.pid)
        assert snapshot.generation == 1
        number = service.events.newest
        assert process.stdin is not None
        process.stdin.write(b"\n")
        process.stdin.close()
        async with asyncio.timeout(60):
            await service.events.wait_beyond(number)
        _, (event,) = service.events.after(number)
        assert event.kind is EventKind.EXEC
        assert (event.target.id, event.target.generation) == (snapshot.id, 2)
        assert event.target.identity.exe != snapshot.identity.exe
        shown = await service.target(snapshot.id)
        assert (shown.generation, shown.identity.comm) == (2, "sleep")


async def test_who_means_another_program_is_refused_and_told_which_one_runs(
    service: MemoryService,
) -> None:
    with start("plain") as target:
        snapshot, _ = await service.register(target.pid)
        regions = Regions([target["marker"]], [8])
        assert (await ask(service, snapshot.id, ReadSpec(regions, generation=1))).generation == 1
        with pytest.raises(TargetChanged) as caught:
            await ask(service, snapshot.id, ReadSpec(regions, generation=7))
        assert caught.value.generation == 1
        spec = WriteSpec([target["marker"]], [b"x" * 8], generation=7)
        with service.lease_write(spec) as lease, pytest.raises(TargetChanged):
            await service.write(snapshot.id, spec, lease)
        span = RangeSpec(target["marker"], target["marker"] + 8, generation=7)
        with service.transfer(snapshot.id, span) as transfer, pytest.raises(TargetChanged):
            await transfer.begin()
        span = RangeSpec(target["marker"], target["marker"] + 8)
        with service.transfer(snapshot.id, span) as transfer:
            assert (await transfer.begin()).generation == 1


def marks() -> int:
    links: list[str] = []
    for entry in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # the folder's own
            links.append(str(entry.readlink()))
    return sum(link.endswith("/pagemap") for link in links)


def _refresh(process: Process, programs: Programs) -> None:
    lookups._refresh(process, programs)  # noqa: SLF001 - what a look at all targets does of each


def _look_again(process: Process, programs: Programs) -> None:
    programs.current.note(processes.look_again(process, programs.current.identity))


@pytest.mark.parametrize("look", [_refresh, _look_again])
def test_who_executes_another_program_is_not_shown_with_the_arguments_of_the_last(
    tmp_path: Path, look: Callable[[Process, Programs], None]
) -> None:
    vault, ruby = (shutil.copy(build("changing"), tmp_path / name) for name in ("vault", "ruby"))
    with Target("changing", "1", program=vault) as target:
        process, identity = processes.hold(target.pid)
        programs = Programs(process, identity)
        lookups._look_inside(process, programs)  # noqa: SLF001 - as a registration does
        assert programs.current.identity.cmdline == f"{vault}\0001\0".encode()
        assert target.command("rename other") == "ok"
        look(process, programs)
        assert programs.current.identity.comm == "other"
        assert programs.current.identity.cmdline is not None
        target.send(f"become {ruby} 2")
        target.await_ready()
        look(process, programs)
        shown = programs.current.identity
        programs.end()
    os.close(process.pidfd)
    assert (shown.exe, shown.cmdline) == (str(ruby), None)


_STEPS = {
    "its folder": (processes, "live_folder"),
    "its page table": (os, "open"),
    "who it is": (processes, "refresh"),
    "where it is": (processes, "places"),
    "its vector": (auxv, "read"),
    "its bytes": (uapi, "read_memory"),
    "its word": (environments, "opts_out"),
}
"""What is looked at of a new program."""


@pytest.mark.parametrize("is_before", [True, False], ids=["before", "behind"])
@pytest.mark.parametrize("step", _STEPS)
@pytest.mark.parametrize("prefix", [[], ["setarch", "-R"]], ids=["random", "nothing random"])
def test_no_program_is_taken_for_the_one_before_it(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    is_before: bool,  # noqa: FBT001 - one of the two cases
    prefix: list[str],
) -> None:
    """Whenever the execve comes, and while somebody keeps the old memory in use."""
    ruby, vault = (
        Path(shutil.copy(build("changing"), tmp_path / name)) for name in ("ruby", "vault")
    )
    script = tmp_path / "run"
    script.write_text(f'#!/bin/sh\nexec {" ".join(prefix)} {ruby} "$@"\n')
    script.chmod(0o755)
    with Target("changing", "1", program=script) as target:
        assert target.command("share") == "ok"
        process, identity = processes.hold(target.pid)
        programs = Programs(process, identity)
        module, called = _STEPS[step]
        act = getattr(module, called)

        def become() -> None:
            monkeypatch.undo()
            target.send(f"become {vault} 2")
            target.await_ready()

        def acting(*arguments: object) -> object:
            if is_before:
                become()
                return act(*arguments)
            found = act(*arguments)
            become()
            return found

        monkeypatch.setattr(module, called, acting)
        programs.look()
        monkeypatch.undo()
        value, generation = programs.within_one(
            lambda: uapi.read_memory(target.pid, target["marker"], 8), None
        )
        current = programs.current
        programs.end()
    os.close(process.pidfd)
    assert (value, generation) == ((2).to_bytes(8, "little"), current.number)
    assert current.identity.exe == str(vault)


async def test_targets_that_have_ended_leave_no_descriptor(service: MemoryService) -> None:
    before = marks()
    with start("plain") as target:
        snapshot, _ = await service.register(target.pid)
        assert marks() == before + 1
        target.kill()
        target.reap()
        await service.wait_exit(snapshot.id, 10)
        assert marks() == before
