"""What a service has to do when it is killed: threads that ask, until nobody answers."""

from __future__ import annotations

import itertools
import random
import struct
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from endurance.crash.victims import PLACES
from farpeek_api.client import Client, PeekError, Plan, SearchMatch
from support.targets import Target

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable

    from endurance.crash.victims import Large, Victim

_numbers = itertools.count(1)


class Load:
    """All that is asked of one service. Each kind has a thread and a connection of its own."""

    def __init__(self, url: str, victims: list[Victim], large: Large, seed: str) -> None:
        self._url = url
        self._victims = victims
        self._large = large
        self._seed = seed
        self.failures: list[str] = []
        kinds = (
            *(self._read, self._write, self._write, self._subscribe, self._bulk, self._register),
            *(self._plan, self._search, self._core),
        )
        self._threads = [
            threading.Thread(target=self._ask_on, args=(kind, number), daemon=True)
            for number, kind in enumerate(kinds)
        ]
        self.done: list[str] = []

    def begin(self) -> None:
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        """Wait for the threads, whose service is gone."""
        for thread in self._threads:
            thread.join(60)
            if thread.is_alive():
                self.failures.append("a client waits for a service that is dead")

    def count(self, counts: Counter[str]) -> None:
        """Add what was answered."""
        counts.update(self.done)

    def _ask_on(self, kind: Callable[[Client, random.Random], None], number: int) -> None:
        chance = random.Random(f"{self._seed} {number}")  # noqa: S311 - the same in every run
        try:
            with Client(self._url) as peek:
                while True:
                    kind(peek, chance)
                    self.done.append(kind.__name__.strip("_"))
        except (PeekError, TimeoutError):
            return  # the service is gone
        except Exception as error:  # noqa: BLE001 - it fails the run, by its name
            self.failures.append(f"{kind.__name__}: {error!r}")

    def _read(self, peek: Client, chance: random.Random) -> None:
        victim = chance.choice(self._victims)
        target = peek.target(victim.pid)
        for mode in ("wait", "nowait"):
            words = target.readv([(victim.counters, 16)], mode=mode).data
            first, second = struct.unpack("<QQ", words)
            # The target counts both up, one after the other.
            assert first in (second // 2, second // 2 + 1), (first, second)

    def _write(self, peek: Client, chance: random.Random) -> None:
        """Write; what is sent may be there from then on, answered or not."""
        victim, place = chance.choice(self._victims), chance.randrange(PLACES)
        target = peek.target(victim.pid)
        word = struct.pack("<Q", next(_numbers))
        victim.written[place].add(word)
        target.writev([(victim.place(place), word)])

    def _subscribe(self, peek: Client, chance: random.Random) -> None:
        victim = chance.choice(self._victims)
        target = peek.target(victim.pid)
        with (
            peek.stream() as stream,
            stream.subscribe(target, [(victim.counters, 8)], hz=200) as ticks,
        ):
            last = 0
            for tick in itertools.islice(ticks, 40):
                (count,) = struct.unpack("<Q", tick.data)
                assert count >= last, (count, last)
                last = count

    def _bulk(self, peek: Client, chance: random.Random) -> None:
        target = peek.target(self._large.pid)
        size = chance.randrange(1 << 16, 4 << 20)
        at = chance.randrange(len(self._large.content) - size)
        start = self._large.start + at
        came = b"".join(target.bulk(start, start + size))
        assert came == self._large.content[at : at + size]

    def _plan(self, peek: Client, chance: random.Random) -> None:
        victim = chance.choice(self._victims)
        plan = Plan()
        plan.array(
            "counters", plan.define("word", 8, count=(0, "u64")), victim.counters, count=2, most=2
        )
        first, second = peek.target(victim.pid).plan(plan)["counters"]["count"]
        assert first in (second // 2, second // 2 + 1), (first, second)

    def _search(self, peek: Client, chance: random.Random) -> None:
        target = peek.target(self._large.pid)
        at = chance.randrange(len(self._large.content) - 16)
        start, wanted = self._large.start, self._large.content[at : at + 16]
        found = [
            each.address
            for each in target.search(wanted, ranges=[(start, start + len(self._large.content))])
            if isinstance(each, SearchMatch)
        ]
        assert start + at in found, (hex(start + at), found[:4])

    def _core(self, peek: Client, chance: random.Random) -> None:
        """Save a core; of one that was cut off by the end there is no file."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "core")
            try:
                peek.target(chance.choice(self._victims).pid).core(path)
            except PeekError:
                assert not path.exists()
                raise
            assert path.read_bytes()[:4] == b"\x7fELF"

    def _register(self, peek: Client, _chance: random.Random) -> None:
        with Target("plain") as process:
            peek.target(process.pid)
