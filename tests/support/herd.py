"""`python -m support.herd SECONDS`: a profiler of a host where processes come and go.

200 processes are sampled at 20 Hz by one standing match and one subscription, while five a second
are killed, and as many begin. Every value is compared with what its process holds. Prints what came
of it, and what the service took.
"""

from __future__ import annotations

import random
import shutil
import sys
import threading
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from support.folders import open_folder
from support.frames import take_apart
from support.targets import Target, build
from support.waiting import until
from support.websocket import PING, PONG, WebSocket, frame
from support.wire import Served

if TYPE_CHECKING:
    from typing import Any

PROCESSES = 200
HZ = 20
CHANGES_A_SECOND = 5
MARKER = 0x5EC000000000


@dataclass
class Outcome:
    """What was counted."""

    frames: int = 0
    wrong: int = 0
    dropped: int = 0
    killed: int = 0
    left: Counter[str] = field(default_factory=Counter[str])  # by target
    reasons: Counter[str] = field(default_factory=Counter[str])
    ended: list[str] = field(default_factory=list[str])
    cpu: float = 0.0  # of a core, while all are sampled
    kept_descriptors: int = 0
    kept_targets: int = 0


class _Frames(threading.Thread):
    """Takes frames until the subscription ends."""

    def __init__(self, ws: WebSocket, numbers: dict[int, int], outcome: Outcome) -> None:
        super().__init__(daemon=True)
        self._ws = ws
        self._numbers = numbers
        self.outcome = outcome
        self.seen: set[int] = set()  # numbers of processes

    def run(self) -> None:
        while not self.outcome.ended:
            opcode, payload = self._ws.receive()
            if opcode == PING:
                self._ws.sock.sendall(frame(payload, PONG))
            else:
                self._take(*take_apart(payload))

    def _take(self, shown: Any, data: bytes) -> None:  # noqa: ANN401 - an object of JSON
        outcome = self.outcome
        if "ended" in shown:
            outcome.ended.append(shown["ended"])
        elif "left" in shown:
            outcome.left[shown["target"]] += 1
            outcome.reasons[shown["left"]] += 1
        else:
            outcome.frames += 1
            outcome.dropped += shown["dropped"]
            pid = int(shown["target"].partition("-")[0])
            # One may be sampled before whoever started it has noted its number.
            until(lambda: pid in self._numbers, "its number is known")
            outcome.wrong += int.from_bytes(data, "little") != self._numbers[pid]
            self.seen.add(pid)


class _Herd:
    """The processes; each holds a number of its own."""

    def __init__(self, program: Path, stack: ExitStack, numbers: dict[int, int]) -> None:
        self._program = program
        self._stack = stack
        self._numbers = numbers
        self._started = 0
        self._random = random.Random(7)  # noqa: S311 - the same in every run
        self.running: list[Target] = []

    def start_one(self) -> None:
        self._started += 1
        target = Target("plain", "--marker", self._started, program=self._program)
        self._numbers[target.pid] = self._started
        self.running.append(self._stack.enter_context(target))

    def end_one(self, seen: set[int]) -> None:
        """End one that is sampled already: who is not held yet leaves without a word."""
        target = self._random.choice([each for each in self.running if each.pid in seen])
        self.running.remove(target)
        seen.discard(target.pid)
        target.kill()


def run(seconds: float) -> Outcome:
    """Do it for so long."""
    outcome, numbers = Outcome(), dict[int, int]()
    with open_folder() as folder, Served(folder) as served, ExitStack() as stack:
        program = Path(shutil.copy(build("plain"), folder / "plain"))
        herd = _Herd(program, stack, numbers)
        before = _descriptors(served)
        ws = stack.enter_context(WebSocket(served.connect()))
        match = served.request("POST", "/v1/matches", {"match": {"exe": str(program)}}).json["id"]
        sampling = {"match": match, "addresses": [MARKER], "lengths": 8, "hz": HZ}
        ws.ask({"id": 1, "subscribe": sampling})
        frames = _Frames(ws, numbers, outcome)
        frames.start()
        for _ in range(PROCESSES):
            herd.start_one()
        until(lambda: len(frames.seen) == PROCESSES, "all are sampled")
        outcome.cpu = _churn(served, herd, frames, seconds)
        while herd.running:
            pids = {each.pid for each in herd.running}
            until(lambda pids=pids: pids & frames.seen, "one is sampled")
            herd.end_one(frames.seen)
            outcome.killed += 1
        until(lambda: sum(outcome.left.values()) >= outcome.killed, "each exit is told")
        ws.send({"unsubscribe": 1})
        frames.join(60)
        served.request("DELETE", f"/v1/matches/{match}")
        info = served.request("GET", "/v1/info").json
        outcome.kept_targets = info["targets"]["running"] + info["targets"]["exited"]
        stack.close()
        # Those of the connection that is closed, and of threads that are idle by now, go soon.
        until(lambda: _descriptors(served) <= before + 8, "descriptors are given back")
        outcome.kept_descriptors = _descriptors(served) - before
    return outcome


def _descriptors(served: Served) -> int:
    return sum(1 for _ in Path(f"/proc/{served.process.pid}/fd").iterdir())


def _churn(served: Served, herd: _Herd, frames: _Frames, seconds: float) -> float:
    """Kill and start; the part of a core that the service took meanwhile."""
    clock = ~served.process.pid << 3 | 2  # clock_getcpuclockid(3)
    cpu, began = time.clock_gettime_ns(clock), time.monotonic()
    number = 0
    while time.monotonic() < began + seconds:
        herd.end_one(frames.seen)
        frames.outcome.killed += 1
        herd.start_one()
        number += 1
        time.sleep(max(0.0, began + number / CHANGES_A_SECOND - time.monotonic()))
    used = time.clock_gettime_ns(clock) - cpu
    return used / 1e9 / (time.monotonic() - began)


def main() -> int:
    """Print what came of it; 1 if anything was wrong."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 600.0
    outcome = run(seconds)
    twice = sum(count != 1 for count in outcome.left.values())
    print(  # noqa: T201 - what it is for
        f"{seconds:g} s: {outcome.frames} frames, {outcome.wrong} of them wrong, "
        f"{outcome.dropped} ticks dropped; {outcome.killed} exits, {len(outcome.left)} told, "
        f"{twice} more than once; {100 * outcome.cpu:.1f} % of a core; "
        f"{outcome.kept_targets} targets and {outcome.kept_descriptors} descriptors kept"
    )
    return int(bool(outcome.wrong or twice or outcome.kept_targets))


if __name__ == "__main__":
    sys.exit(main())
