"""What was judged before a read counts behind it as long as nothing that it rested on is another.

`is_plain` is the short way to say so. Each of these changes something between judging and telling,
of which nobody was told: whatever is taken for unchanged by the short way goes out.
"""

from __future__ import annotations

import datetime as dt
import os
import shutil
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import pytest_asyncio

from farpeek.memory import MemoryService
from farpeek.model import Limits, Mode, ReadSpec, Regions
from farpeek_api.http.refusals import Changing, Hidden, NotPermitted, OptedOut, WordUnknown
from farpeek_api.policy import rights, tokens
from farpeek_api.policy.current import CurrentPolicy
from farpeek_api.policy.guard import Guard
from farpeek_api.policy.rights import PolicyRights
from farpeek_api.policy.verbs import Verb
from support.asking import ask
from support.policies import entry
from support.targets import Target, build

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from pathlib import Path

    from farpeek.targets.target import Target as Held
    from farpeek_api.policy.guard import Judged

NARROW = "narrow"
RUBY = 'targets = [{ exe = "*/ruby*", uid = 0 }]\n'
STRANGER = 4711
READ = Verb.READ, Mode.NOWAIT


def expiry(seconds: float) -> str:
    at = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=seconds)
    return f"expires = {at.isoformat(timespec='seconds')}\n"


def policy(rest: str = RUBY, verbs: list[str] | None = None) -> str:
    return entry(NARROW, tokens.make(), verbs or ["read"], rest) + entry("admin", tokens.make())


class Read(NamedTuple):
    """One that was done, and not told yet."""

    service: MemoryService
    guard: Guard
    current: CurrentPolicy
    process: Target
    target: Held
    judged: Judged
    generation: int | None
    folder: Path

    @property
    def is_plain(self) -> bool:
        return self.guard.is_plain(self.judged, self.generation)

    def confirm(self) -> None:
        self.guard.confirm(NARROW, self.judged, self.generation, *READ)

    async def renew(self, text: str) -> None:
        write(self.folder, text)
        await self.current.reload()


def write(folder: Path, text: str) -> Path:
    path = folder / "policy.toml"
    path.write_text(text)
    path.chmod(0o600)
    return path


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Target]:
    for name in ("ruby", "ruby-for-another"):
        shutil.copy(build("changing"), tmp_path / name)
    other = tmp_path / "ruby-for-another"
    os.chown(other, STRANGER, STRANGER)
    other.chmod(0o4755)
    tmp_path.chmod(0o755)
    with Target("changing", program=tmp_path / "ruby") as started:
        yield started


@pytest_asyncio.fixture
async def service() -> AsyncIterator[MemoryService]:
    opened = await MemoryService.open(Limits())
    yield opened
    assert await opened.close(10)


async def done(service: MemoryService, process: Target, folder: Path, text: str) -> Read:
    """Judge a read, and do it."""
    target_id = (await service.register(process.pid, {"job": "build"}, "admin"))[0].id
    current = CurrentPolicy(write(folder, text))
    guard = Guard(service, current)
    target = service.find(target_id)
    assert target is not None
    spec = ReadSpec(Regions([process["marker"]], [8]), Mode.NOWAIT)
    await ask(service, target_id, spec)
    judged = guard.judge(NARROW, target_id, *READ)
    result = await ask(service, target_id, spec)
    return Read(service, guard, current, process, target, judged, result.generation, folder)


async def its_user(read: Read) -> None:
    assert read.process.command(f"setuid {STRANGER}") == "ok"


async def its_user_as_somebody_else_found_out(read: Read) -> None:
    await its_user(read)
    rights.look_again(read.target)
    assert read.target.identity.uid == STRANGER


async def its_program_and_user(read: Read) -> None:
    read.process.send(f"become {read.folder / 'ruby-for-another'} 7")
    read.process.await_ready()


async def its_program(read: Read) -> None:
    """As somebody else has found out meanwhile."""
    read.process.send(f"become {read.folder / 'ruby'} 7")
    read.process.await_ready()
    await read.service.target(read.target.id)
    assert read.target.programs.current.number != read.generation


async def its_program_as_it_seems(read: Read) -> None:
    read.target.programs.current.is_doubted = True


async def its_word(read: Read) -> None:
    read.judged.program.opted_out = True


async def what_is_known_of_its_word(read: Read) -> None:
    read.judged.program.opted_out = None


async def the_verbs(read: Read) -> None:
    await read.renew(policy(verbs=["inspect"]))


async def the_modes(read: Read) -> None:
    await read.renew(policy('modes = ["wait"]\n' + RUBY))


async def the_rules(read: Read) -> None:
    await read.renew(policy('targets = [{ exe = "*/python*" }]'))


async def the_clients(read: Read) -> None:
    await read.renew(entry("admin", tokens.make()))


LABELLED = 'targets = [{ labels = { job = "build" } }]'


async def its_labels(read: Read) -> None:
    read.target.claims.register("admin", {"job": "other"})


async def whose_labels_count(read: Read) -> None:
    read.target.claims.drop("admin")


CHANGES: list[tuple[Callable[[Read], Awaitable[None]], str, type[Exception]]] = [
    (its_user, RUBY, Hidden),
    (its_user_as_somebody_else_found_out, RUBY, Hidden),
    (its_program_and_user, RUBY, Hidden),
    (its_program, RUBY, Changing),
    (its_program_as_it_seems, RUBY, Changing),
    (its_word, RUBY, OptedOut),
    (what_is_known_of_its_word, RUBY, WordUnknown),
    (the_verbs, RUBY, NotPermitted),
    (the_modes, RUBY, NotPermitted),
    (the_rules, RUBY, Hidden),
    (the_clients, RUBY, NotPermitted),
    (its_labels, LABELLED, Hidden),
    (whose_labels_count, LABELLED, Hidden),
]


@pytest.mark.parametrize(("change", "rules", "refusal"), CHANGES)
async def test_nothing_is_told_where_something_has_changed_since_it_was_judged(
    service: MemoryService,
    process: Target,
    tmp_path: Path,
    change: Callable[[Read], Awaitable[None]],
    rules: str,
    refusal: type[Exception],
) -> None:
    read = await done(service, process, tmp_path, policy(rules))
    assert read.is_plain
    read.confirm()
    await change(read)
    assert not read.is_plain
    with pytest.raises(refusal):
        read.confirm()
    assert not read.is_plain


async def test_nothing_is_told_once_the_time_of_the_client_is_over(
    service: MemoryService, process: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = await done(service, process, tmp_path, policy(expiry(60) + RUBY))
    assert read.is_plain
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + 61)
    assert not read.is_plain
    with pytest.raises(NotPermitted):
        read.confirm()


async def test_a_new_policy_that_says_the_same_is_asked_anew(
    service: MemoryService, process: Target, tmp_path: Path
) -> None:
    read = await done(service, process, tmp_path, policy())
    await read.renew(policy())
    assert not read.is_plain
    read.confirm()


async def test_what_was_judged_without_a_policy_is_judged_by_one_that_came_meanwhile(
    service: MemoryService, process: Target, tmp_path: Path
) -> None:
    read = await done(service, process, tmp_path, policy())
    read.current.policy = None
    read = read._replace(judged=read.guard.judge(NARROW, read.target.id, *READ))
    assert read.is_plain
    await the_rules(read)
    assert not read.is_plain
    with pytest.raises(Hidden):
        read.confirm()


async def test_what_changes_without_a_trace_is_looked_at_again_after_a_second(
    service: MemoryService, process: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that a process gives itself is no short way's business."""
    monkeypatch.setattr(rights, "FRESH_S", 0.0)
    read = await done(service, process, tmp_path, policy('targets = [{ comm = "ruby*" }]'))
    assert not read.is_plain
    read.confirm()
    assert process.command("rename vault") == "ok"
    with pytest.raises(Hidden):
        read.confirm()


async def test_an_exited_target_is_judged_by_who_it_was(
    service: MemoryService, process: Target, tmp_path: Path
) -> None:
    read = await done(service, process, tmp_path, policy())
    process.kill()
    process.reap()
    await service.wait_exit(read.target.id, 10)
    assert not read.is_plain
    read.confirm()


async def test_nothing_is_decided_anew_where_nothing_has_changed(
    service: MemoryService, process: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = await done(service, process, tmp_path, policy())

    def decided(*_: Any) -> bool:  # noqa: ANN401 - nobody comes here
        pytest.fail("it is known")

    monkeypatch.setattr(PolicyRights, "sees_target", decided)
    monkeypatch.setattr(PolicyRights, "admits", decided)
    read.confirm()
    read.guard.confirm(NARROW, read.guard.judge(NARROW, read.target.id, *READ), 1, *READ)
