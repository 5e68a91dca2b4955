#!/usr/bin/env python3
"""Samples the Python stacks of all processes of a host, 20 times a second, without stopping any.

A sample of a process is one plan, which the service does at each tick: all threads, all their
frames, and the names of their functions, in one round trip. Nothing about Python is in the service;
this file has the offsets of CPython 3.11 (Include/internal/pycore_frame.h, pycore_interp.h,
pycore_runtime.h), and reads those of 3.13 from the target (_Py_DebugOffsets, with the cookie
"xdebugpy").

    python3 examples/stacks.py --seconds 10            # every process that is called python*
    python3 examples/stacks.py --pid 4242 --hz 50      # one
    python3 examples/stacks.py --speedscope out.json   # for https://www.speedscope.app

Prints collapsed stacks, as flame graphs want them: PROCESS;THREAD;FUNCTION;FUNCTION COUNT.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import struct
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from farpeek_api.cli.errors import WrongWord
from farpeek_api.cli.space import Space
from farpeek_api.client import AsyncClient, Client, PeekError, Plan
from farpeek_api.client.plans import this

if TYPE_CHECKING:
    from farpeek_api.client import PlanResult, Target

COOKIE = b"xdebugpy"
ON_C_STACK = 3
"""Owner of a frame that stands for a call from C, since 3.12: FRAME_OWNED_BY_CSTACK."""

ENCODINGS = {1: "latin-1", 2: "utf-16-le", 4: "utf-32-le"}
"""By the kind of a text that is not ASCII: bytes of a character; unicodeobject.h."""

MOST_THREADS = 512
MOST_FRAMES = 1024
LIMITS = {"reads": 8192, "bytes": 1 << 20, "rows": 16_384, "timeout_s": 0.5}


@dataclass(frozen=True)
class Offsets:
    """Where things are in one version of CPython."""

    interpreters: int
    interpreter_threads: int
    thread_size: int
    thread_next: int
    thread_native_id: int
    thread_frame: int
    frame_is_behind: int | None  # a pointer to follow first: the _PyCFrame of 3.11
    frame_size: int
    frame_previous: int
    frame_code: int
    frame_owner: int
    code_name: int
    text_length: int
    text_state: int
    ascii_is_behind: int
    others_are_behind: int


OF_3_11 = Offsets(40, 16, 360, 8, 160, 56, 8, 80, 48, 32, 69, 128, 16, 32, 48, 72)


class Unknown(Exception):
    """The process is no Python that this file knows."""


def offsets_of(target: Target, space: Space) -> tuple[int, Offsets]:
    """Find _PyRuntime, and what is where."""
    try:
        runtime, version_at = space.address("_PyRuntime"), space.address("Py_Version")
    except WrongWord as error:
        raise Unknown("it has no _PyRuntime") from error
    (version,) = struct.unpack("<I", target.read(version_at, 4, mode="nowait"))
    major_minor = version >> 24, version >> 16 & 0xFF
    if target.read(runtime, len(COOKIE), mode="nowait") == COOKIE:
        return runtime, _told(target.read(runtime, 584, mode="nowait"), major_minor)
    if major_minor != (3, 11):
        raise Unknown(f"its version is {major_minor[0]}.{major_minor[1]}: 3.11 and 3.13 are known")
    return runtime, OF_3_11


def _told(table: bytes, version: tuple[int, int]) -> Offsets:
    """Take the offsets that a 3.13 tells of itself, each checked against what it is in."""
    if version != (3, 13):
        raise Unknown(f"the table of {version[0]}.{version[1]} is not known here")

    def word(at: int) -> int:
        return int(struct.unpack_from("<Q", table, at)[0])

    def within(at: int, size: int, least: int = 8) -> int:
        if not 0 <= word(at) <= size - least or size > 1 << 20:
            raise Unknown("its table of offsets makes no sense")
        return word(at)

    thread, frame, code, text = word(152), word(224), word(272), word(536)
    return Offsets(
        within(40, word(24)),
        within(72, word(48)),
        thread,
        within(168, thread),
        within(200, thread),
        within(184, thread),
        None,
        frame,
        within(232, frame),
        within(240, frame),
        within(264, frame, 1),
        within(296, code),
        within(552, text),
        within(544, text, 4),
        word(560),
        word(560) + 16,  # the length of its UTF-8, and where that is
    )


def plan_of(runtime: int, offsets: Offsets) -> Plan:
    """Make the plan of a sample: threads, their frames, the code of each, and its name."""
    plan = Plan(**LIMITS)
    thread = plan.define(
        "thread",
        offsets.thread_size,
        next=(offsets.thread_next, "pointer"),
        frame=(offsets.thread_frame, "pointer"),
        native_id=(offsets.thread_native_id, "u64"),
    )
    frame = plan.define(
        "frame",
        offsets.frame_size,
        previous=(offsets.frame_previous, "pointer"),
        code=(offsets.frame_code, "pointer", {"mask": 2**64 - 4}),  # tagged in later versions
        owner=(offsets.frame_owner, "u8"),
    )
    text = plan.define(
        "text",
        offsets.others_are_behind,
        length=(offsets.text_length, "u64"),
        kind=(offsets.text_state, "u32", {"bits": [2, 3]}),
        is_ascii=(offsets.text_state, "u32", {"bits": [6, 1]}),
    )
    first = plan.chain("first", runtime, [offsets.interpreters, offsets.interpreter_threads, 0])
    threads = plan.list("threads", thread, first, by="next", most=MOST_THREADS)
    newest = this("frame")
    if offsets.frame_is_behind is not None:
        newest = threads.chain("newest", newest, [offsets.frame_is_behind, 0]).address
    frames = threads.list("frames", frame, newest, by="previous", most=MOST_FRAMES)
    texts = frames.chain("texts", this("code"), [offsets.code_name, 0], then={"read": text})
    plain, other = {"field": "is_ascii", "equals": 1}, {"field": "is_ascii", "equals": 0}
    texts.cstring("plain", texts, 256, skip=offsets.ascii_is_behind, when=plain)
    texts.bytes("other", texts, 256, skip=offsets.others_are_behind, when=other)
    return plan


def stacks_in(result: PlanResult) -> list[tuple[int, list[str]]]:
    """Give each thread's number and its functions, the outermost first."""
    texts, plain, other = result["texts"], result["plain"], result["other"]
    of_frame = texts.parent or ()
    names: dict[int, str] = {}
    for text, name in zip(plain.parent or (), plain["text"], strict=True):
        names[of_frame[text]] = name
    for text, data in zip(other.parent or (), other["data"], strict=True):
        kind, length = texts["kind"][text], texts["length"][text]
        shown = data[: length * kind].decode(ENCODINGS.get(kind, "latin-1"), "replace")
        names[of_frame[text]] = shown
    functions: dict[int, list[str]] = {number: [] for number in range(len(result["threads"]))}
    frames = result["frames"]
    for frame, thread in enumerate(frames.parent or ()):
        if frames["owner"][frame] != ON_C_STACK:
            functions[thread].append(names.get(frame, "?"))
    ids = result["threads"]["native_id"]
    cut = {thread for thread, why in enumerate(frames.stopped) if why in {"budget", "max", "gap"}}
    return [
        (int(ids[thread]), [*(["..."] if thread in cut else []), *reversed(found)])
        for thread, found in functions.items()
    ]


def prepare(peek: Client, pids: list[int]) -> dict[str, tuple[str, dict[str, Any]]]:
    """Find the processes, and make the plan of each: by the id of its target."""
    wanted: dict[str, tuple[str, dict[str, Any]]] = {}
    for pid in pids or [each.pid for each in peek.processes(comm="python*")]:
        try:
            target = peek.target(pid)
            runtime, offsets = offsets_of(target, Space(target, "nowait"))
        except (Unknown, PeekError) as error:
            sys.stderr.write(f"{pid} is left out: {error}\n")
            continue
        name = f"{target.info.process.comm} {pid}"
        wanted[target.id] = (name, plan_of(runtime, offsets).body())
    return wanted


async def sample(
    url: str | None, wanted: dict[str, tuple[str, dict[str, Any]]], hz: float, seconds: float
) -> tuple[Counter[str], int, int]:
    """Sample all of them; collapsed stacks, samples taken and ticks lost."""
    stacks: Counter[str] = Counter()
    taken = lost = 0

    async def follow(stream: Any, target: str) -> None:  # noqa: ANN401 - of either client
        nonlocal taken, lost
        name, plan = wanted[target]
        steps: object = None
        shown: list[str] = []
        try:
            async with stream.subscribe_plan(target, plan, hz=hz, mode="nowait") as ticks:
                async for tick in ticks:
                    taken, lost = taken + 1, lost + tick.dropped
                    if tick.plan.steps is not steps:  # else it has found the same
                        steps = tick.plan.steps
                        shown = [
                            ";".join([name, f"thread {thread}", *functions])
                            for thread, functions in stacks_in(tick.plan)
                        ]
                    stacks.update(shown)
        except PeekError as error:
            sys.stderr.write(f"{name} is followed no more: {error}\n")

    async with AsyncClient(url) as peek, peek.stream() as stream:
        tasks = [asyncio.create_task(follow(stream, target)) for target in wanted]
        await asyncio.sleep(seconds)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return stacks, taken, lost


def speedscope(stacks: Counter[str], hz: float) -> dict[str, Any]:
    """Write them in speedscope's format (https://www.speedscope.app/file-format-schema.json)."""
    frames: dict[str, int] = {}
    samples = [
        [frames.setdefault(each, len(frames)) for each in stack.split(";")] for stack in stacks
    ]
    weights = [count / hz for count in stacks.values()]
    profile = {
        "type": "sampled",
        "name": "all processes",
        "unit": "seconds",
        "startValue": 0,
        "endValue": sum(weights),
        "samples": samples,
        "weights": weights,
    }
    return {
        "$schema": "https://www.speedscope.app/file-format-schema.json",
        "shared": {"frames": [{"name": name} for name in frames]},
        "profiles": [profile],
    }


def main() -> int:
    """Sample, and print what was seen."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--url", help="of the service (default: as the farpeek command finds it)")
    parser.add_argument("--pid", type=int, action="append", default=[], help="may be repeated")
    parser.add_argument("--hz", type=float, default=20.0)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--speedscope", metavar="FILE")
    chosen = parser.parse_args()
    with Client(chosen.url) as peek:
        wanted = prepare(peek, chosen.pid)
        if not wanted:
            sys.stderr.write("there is no process to sample\n")
            return 1
        stacks, taken, lost = asyncio.run(sample(chosen.url, wanted, chosen.hz, chosen.seconds))
    for stack, count in stacks.most_common():
        sys.stdout.write(f"{stack} {count}\n")
    sys.stderr.write(f"{taken} samples of {len(wanted)} processes, {lost} ticks lost\n")
    if chosen.speedscope:
        Path(chosen.speedscope).write_text(json.dumps(speedscope(stacks, chosen.hz)), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
