"""Debuggers, assistants and editors at a process of a node, as on the host itself."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import pytest

from support.assistant import Hostile, assistant, says_no, says_yes
from support.debugged import debugger, frames, start
from support.editor import Adapter, Editor
from support.sample import Sample
from support.targets import state_of

if TYPE_CHECKING:
    from support.fleet import Fleet


@pytest.fixture
def words(fleet: Fleet) -> tuple[str, ...]:
    """Return what says that the node n1 is meant."""
    return ("--node", "n1", "--nats", fleet.broker.url("alice"), "--client", "alice")


def test_gdb_shows_the_frames_of_a_process_that_goes_on(words: tuple[str, ...]) -> None:
    with start() as process:
        shown = debugger(
            "gdb", process.pid, *words, "--", "-nx", "-batch", "-ex", "bt", "-ex", "echo done\\n"
        )
        assert "main" in [function for function, _ in frames(shown)], shown
        assert state_of(process.pid) in ("S", "R")


async def test_an_assistant_reads_what_the_person_has_approved(words: tuple[str, ...]) -> None:
    with Hostile() as process:
        asked = says_yes()
        async with assistant(None, asked, *words) as model:
            target = await model.open(process.pid)
            where = {"target": target, "address": hex(process.address)}
            found = await model.call("read", **where, type="pointer", count=2)
        assert len(asked.questions) == 1
        shown = [row["value"] for row in found["rows"]]
        assert shown == [hex(process.address + 8), hex(process.address + 64)]
        async with assistant(None, says_no(), *words) as model:
            await model.refused("open_target", process=str(process.pid))


def test_an_editor_reads_memory(words: tuple[str, ...]) -> None:
    with Sample() as sample, Adapter(None, *words) as adapter:
        editor = Editor.over_stdio(adapter)
        editor.attach(sample.pid)
        answer = editor.read(hex(sample.address), 64)
        assert base64.b64decode(answer.data or "") == sample.bytes(0, 64)
        (thread,) = editor.ask("threads").threads
        assert thread.id == sample.pid
