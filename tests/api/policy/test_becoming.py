"""A target that is ruby, vault, and ruby again: what was vault's is told to nobody."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from farpeek.access.listing import Course
from farpeek.errors import TooBusy
from farpeek.memory import MemoryService
from farpeek.model import Limits, MapsSpec, Mode, ReadSpec, Regions
from farpeek_api.http.refusals import Hidden
from farpeek_api.policy import tokens
from farpeek_api.policy.current import CurrentPolicy
from farpeek_api.policy.guard import Guard
from farpeek_api.policy.reach import Reach
from farpeek_api.policy.rights import look_again
from farpeek_api.policy.verbs import Verb
from support.asking import ask
from support.policies import entry
from support.targets import Target, build

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path


@pytest_asyncio.fixture
async def service() -> AsyncIterator[MemoryService]:
    opened = await MemoryService.open(Limits())
    yield opened
    assert await opened.close(10)


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Target]:
    for name in ("ruby", "vault"):
        shutil.copy(build("changing"), tmp_path / name)
    with Target("changing", program=tmp_path / "ruby") as started:
        yield started


def become(process: Target, tmp_path: Path, name: str) -> None:
    process.send(f"become {tmp_path / name} 7")
    process.await_ready()


def reach_of(service: MemoryService, tmp_path: Path) -> Reach:
    text = entry("narrow", tokens.make(), rest='targets = [{ exe = "*/ruby" }]')
    path = tmp_path / "policy.toml"
    path.write_text(text)
    path.chmod(0o600)
    return Reach(service, Guard(service, CurrentPolicy(path)), "narrow")


def spec_of(process: Target) -> ReadSpec:
    return ReadSpec(Regions([process["marker"]], [8]), Mode.NOWAIT)


async def test_what_was_read_of_the_program_in_between_is_not_told(
    service: MemoryService, process: Target, tmp_path: Path
) -> None:
    """It is ruby when it is judged, and ruby when that is confirmed."""
    target_id = (await service.register(process.pid))[0].id
    reach = reach_of(service, tmp_path)
    target = service.find(target_id)
    assert target is not None
    judged = reach._guard.judge("narrow", target_id, Verb.READ, Mode.NOWAIT)  # noqa: SLF001
    become(process, tmp_path, "vault")
    result = await ask(service, target_id, spec_of(process))
    become(process, tmp_path, "ruby")
    look_again(target)  # as whoever asks for it does
    assert target.identity.exe == str(tmp_path / "ruby")
    with pytest.raises(TooBusy):
        reach._guard.confirm("narrow", judged, result.generation, Verb.READ, Mode.NOWAIT)  # noqa: SLF001
    again = await ask(service, target_id, spec_of(process))
    assert again.generation == (result.generation or 0) + 1
    reach._guard.confirm("narrow", judged, again.generation, Verb.READ, Mode.NOWAIT)  # noqa: SLF001


async def test_nothing_is_doubted_for_long(
    service: MemoryService, process: Target, tmp_path: Path
) -> None:
    """A program that is where it was not (prctl(2), PR_SET_MM) is the same one."""
    target_id = (await service.register(process.pid))[0].id
    reach = reach_of(service, tmp_path)
    target = service.find(target_id)
    assert target is not None
    await ask(service, target_id, spec_of(process))
    target.programs.current._places = (1, 1)  # noqa: SLF001 - as if it were elsewhere
    look_again(target)
    assert target.programs.current.is_doubted
    with reach.lease(spec_of(process)) as lease:
        result = await reach.read(target_id, spec_of(process), lease, None)
    assert (result.generation, target.programs.current.is_doubted) == (1, False)


@pytest.mark.parametrize("what", ["maps", "threads", "auxv"])
async def test_no_look_tells_of_the_program_in_between(
    service: MemoryService,
    process: Target,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    what: str,
) -> None:
    target_id = (await service.register(process.pid))[0].id
    reach = reach_of(service, tmp_path)
    look = getattr(service, what)
    seen: list[Any] = []

    async def looking(*arguments: Any) -> Any:  # noqa: ANN401 - whatever it is
        if not seen:
            become(process, tmp_path, "vault")
        seen.append(await look(*arguments))
        if len(seen) == 1:
            become(process, tmp_path, "ruby")
        return seen[-1]

    monkeypatch.setattr(service, what, looking)
    if what == "maps":
        told: Any = await reach.maps(target_id, MapsSpec(), Course())
        assert not any("vault" in each.path for each in told.views)
    elif what == "threads":
        told = await reach.threads(target_id, 0)
    else:
        told = await reach.auxv(target_id)
    assert len(seen) == 2
    assert told is seen[1]


async def test_who_stays_what_may_not_be_seen_is_hidden(
    service: MemoryService, process: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target_id = (await service.register(process.pid))[0].id
    reach = reach_of(service, tmp_path)
    look = service.auxv

    async def looking(name: str) -> dict[str, int]:
        become(process, tmp_path, "vault")
        return await look(name)

    monkeypatch.setattr(service, "auxv", looking)
    with pytest.raises(Hidden):
        await reach.auxv(target_id)
