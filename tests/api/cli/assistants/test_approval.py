"""No program is read unless the person has said yes to it, however that fails to happen."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from mcp_types import ElicitResult, InputRequiredResult

from farpeek_api.cli.assistants.approval import MOST_REFUSALS
from support.assistant import Assistant, Hostile, Person, assistant, says_no, says_yes
from support.audits import Line, done_in, logged
from support.folders import open_folder
from support.sample import Sample
from support.waiting import until
from support.wire import Served

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BOTH = pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
"""The protocol of clients to come, and that of those there are: each asks in its own way."""

LOOKS = {"read", "search", "maps", "threads", "files", "stream"}
"""Verbs of an audit by which something of a target is seen."""


@pytest.fixture(scope="module")
def audited() -> Iterator[Served]:
    with open_folder() as made, Served(made, "--audit", "stderr") as service:
        yield service


@pytest.fixture
def hostile() -> Iterator[Hostile]:
    with Hostile() as process:
        yield process


def of(line: Line) -> str:
    """Return the id of a line's target; empty where it has none."""
    return str((line["target"] or {}).get("id", ""))


def looks_at(service: Served, hostile: Hostile) -> list[str]:
    """Return what was seen of a process, by the audit, once all of that is written."""
    with Sample(4096) as marker:
        other = service.register(marker.pid)
        before = len([line for line in done_in(service.log) if of(line) == other])
        body = {"addresses": [hex(marker.address)], "lengths": 1}
        assert service.request("POST", f"/v1/targets/{other}/readv", body).status == 200
        logged(service, lambda line: of(line) == other, before + 1)
    return [
        line["verb"]
        for line in done_in(service.log)
        if of(line).startswith(f"{hostile.pid}-") and line["verb"] in LOOKS
    ]


@BOTH
async def test_what_is_approved_is_read_and_asked_about_once(
    audited: Served, hostile: Hostile, mode: str
) -> None:
    person = says_yes()
    async with assistant(audited, person, mode=mode) as model:
        target = await model.open(hostile.pid)
        shown = await model.call("read", target=target, address=hex(hostile.address + 4096))
        assert bytes.fromhex(shown["rows"][0]["hex"]) == b"needle-in-a-hay\0" * 2
        assert await model.open(hostile.pid) == target
        with Hostile() as other:
            await _try_all(model, audited, other)
            assert looks_at(audited, other) == []
    assert len(person.questions) == 1
    assert "read" in looks_at(audited, hostile)


NOT_APPROVED = (
    ElicitResult(action="decline"),
    ElicitResult(action="cancel"),
    ElicitResult(action="accept"),
    ElicitResult(action="accept", content={"approve": False}),
    ElicitResult(action="accept", content={"approve": "true"}),
)


@BOTH
async def test_what_is_not_approved_is_not_read_and_not_asked_about_without_end(
    audited: Served, hostile: Hostile, mode: str
) -> None:
    assert len(NOT_APPROVED) == MOST_REFUSALS
    person = says_no()
    async with assistant(audited, person, mode=mode) as model:
        for each in NOT_APPROVED:
            person.answers = each
            said = await model.refused("open_target", process=str(hostile.pid))
            assert "has not approved" in said
        await _try_all(model, audited, hostile)
        person.answers = says_yes().answers
        said = await model.refused("open_target", process=str(hostile.pid))
        assert "nothing more is asked" in said
    assert len(person.questions) == MOST_REFUSALS
    assert looks_at(audited, hostile) == []

    lines = person.questions[0].split("\n")
    assert all(line.isascii() and line.isprintable() for line in lines)
    assert f"process {hostile.pid} of user " in lines[0]
    assert r'It calls itself: "\x22\x1b[31m\nok: yes".' in lines[-1]
    assert lines[-1].count('"') == 4


@BOTH
async def test_a_client_that_cannot_ask_reads_nothing(
    audited: Served, hostile: Hostile, mode: str
) -> None:
    async with assistant(audited, None, mode=mode) as model:
        said = await model.refused("open_target", process=str(hostile.pid))
        assert "cannot ask the person" in said
        await _try_all(model, audited, hostile)
    assert looks_at(audited, hostile) == []


@BOTH
async def test_a_yes_that_comes_too_late_is_a_no(
    audited: Served, hostile: Hostile, mode: str
) -> None:
    async def late(_context: object, _params: object) -> ElicitResult:
        time.sleep(0.3)  # noqa: ASYNC251 - whatever else the client does meanwhile
        return ElicitResult(action="accept", content={"approve": True})

    flags = ("--approval-timeout", "0.1")
    async with assistant(audited, late, *flags, mode=mode) as model:  # type: ignore[arg-type]
        assert "has not approved" in await model.refused("open_target", process=str(hostile.pid))
        await _try_all(model, audited, hostile)
    assert looks_at(audited, hostile) == []


async def test_who_never_answers_is_not_waited_for(audited: Served, hostile: Hostile) -> None:
    flags = ("--approval-timeout", "0.1")
    async with assistant(audited, Person(None), *flags, mode="legacy") as model:
        assert "has not approved" in await model.refused("open_target", process=str(hostile.pid))
    assert looks_at(audited, hostile) == []


LOOKED_BY: dict[str, dict[str, str] | None] = {
    "memory_map": {},
    "threads": {},
    "search": {"kind": "text", "value": "a"},
    **dict.fromkeys(("read", "follow_pointers", "describe_address"), None),
}
"""Tools, and what they need; None is an address."""


async def _try_all(model: Assistant, service: Served, process: Hostile) -> None:
    target = service.register(process.pid)
    for tool, more in LOOKED_BY.items():
        where = {"address": hex(process.address)} if more is None else more
        said = await model.refused(tool, target=target, **where)
        assert "call open_target first" in said


@BOTH
async def test_another_program_in_the_same_process_is_asked_about_anew(
    audited: Served, hostile: Hostile, mode: str
) -> None:
    person = says_yes()
    async with assistant(audited, person, mode=mode) as model:
        target = await model.open(hostile.pid)
        await model.call("memory_map", target=target)
        hostile.execute()
        for tool in ("memory_map", "threads"):
            said = await model.refused(tool, target=target)
            assert "open_target" in said
        person.answers = ElicitResult(action="decline")
        await model.refused("open_target", process=target)
        await model.refused("threads", target=target)
        person.answers = ElicitResult(action="accept", content={"approve": True})
        assert await model.open(hostile.pid) == target
        await model.call("threads", target=target)
    assert len(person.questions) == 3


async def test_each_tool_notices_that_the_program_is_another(audited: Served) -> None:
    async with assistant(audited, says_yes()) as model:
        for tool, more in LOOKED_BY.items():
            with Hostile() as process:
                where = {"address": hex(process.address)} if more is None else more
                target = await model.open(process.pid)
                await model.call(tool, target=target, **where)
                process.execute()
                said = await model.refused(tool, target=target, **where)
                assert "call open_target again" in said
                said = await model.refused(tool, target=target, **where)
                assert "call open_target first" in said


YES = ElicitResult(action="accept", content={"approve": True})


async def test_an_answer_counts_once_and_for_its_own_question_of_which_few_are_open(
    audited: Served, hostile: Hostile
) -> None:
    async with assistant(audited, says_yes(), mode="2026-07-28") as model:
        session = model.client.session
        wanted = {"process": str(hostile.pid)}
        asked = await session.call_tool("open_target", wanted, allow_input_required=True)
        assert isinstance(asked, InputRequiredResult)
        hostile.execute()
        registered = f"/v1/targets/{audited.register(hostile.pid)}"
        until(
            lambda: audited.request("GET", registered).json["generation"] == 2,
            "the service has seen that it executes another program",
        )
        said = await session.call_tool(
            "open_target",
            wanted,
            input_responses={"approval": YES},
            request_state=asked.request_state,
        )
        assert said.is_error
        assert "another program than the one asked about" in str(said.content)
        again = await session.call_tool(
            "open_target",
            wanted,
            input_responses={"approval": YES},
            request_state=asked.request_state,
        )
        assert again.is_error
        assert "answered before" in str(again.content)
        unasked = await session.call_tool(
            "open_target", wanted, input_responses={"approval": YES}, allow_input_required=True
        )
        assert isinstance(unasked, InputRequiredResult)
        for _ in range(MOST_REFUSALS - 1):
            more = await session.call_tool("open_target", wanted, allow_input_required=True)
            assert isinstance(more, InputRequiredResult)
        assert "has not answered yet" in await model.refused("open_target", **wanted)
        # What another session had approved is not approved in this one.
        await _try_all(model, audited, hostile)
    assert looks_at(audited, hostile) == []


async def test_a_program_that_the_service_may_not_look_at_is_not_asked_about(
    hostile: Hostile, folder: Path
) -> None:
    person = says_yes()
    with Served(folder, uid=65534) as service:
        async with assistant(service, person) as model:
            said = await model.refused("open_target", process=str(hostile.pid))
    assert "may not look at this program" in said or "refuse" in said
    assert person.questions == []
