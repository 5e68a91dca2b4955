"""Targets, and what becomes of them. All that happens to one is written down in its history."""

from __future__ import annotations

import shutil
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from endurance.soak.history import MISSING_PAGES, History, Memory
from support.ending import Ending
from support.pid_reuse import MARKER, PAGE
from support.targets import Target, build

if TYPE_CHECKING:
    from contextlib import ExitStack

RUBY, VAULT = "ruby", "vault"
KINDS = {RUBY: 0x3, VAULT: 0x7}
"""In the highest bits of each word, so that a word of the one is never one of the other."""


def programs_in(folder: Path) -> dict[str, Path]:
    """Make the programs that targets execute."""
    return {name: Path(shutil.copy(build("actor"), folder / name)) for name in KINDS}


def address_of(page: int) -> int:
    """Return where a page is, in every target."""
    return MARKER + page * PAGE


class Actor(Ending):
    """A target. One thread does things to it; all others ask it questions and look at `history`."""

    def __init__(self, number: int, name: str, programs: dict[str, Path]) -> None:
        self.number = number
        self._programs = programs
        self._program = 0
        self.history = History(Memory(name, self._word(name), is_loading=True))
        self._process = Target("actor", self.history.now.word, program=programs[name])
        self._change(is_loading=False)
        self.id = ""  # at the service, once it is registered
        self._known_since = 1 << 63
        self.generations: dict[int, int] = {}  # generation -> the word that came with it
        self.execs = 0

    def end(self) -> None:
        self._process.end()

    def is_registered(self, target: str) -> None:
        """Take down its id, which the service has given it."""
        self.id = target
        self._known_since = time.monotonic_ns()

    def was_known_by(self, moment: int) -> bool:
        """Whether the service had it by then (CLOCK_MONOTONIC, ns)."""
        return self._known_since < moment

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        return self.history.now.is_alive

    @property
    def name(self) -> str:
        """What it executes."""
        return self.history.now.name

    def _word(self, name: str) -> int:
        return KINDS[name] << 60 | self.number << 40 | self._program << 20

    def _change(self, command: str = "", **changed: object) -> None:
        def act() -> None:
            if command:
                answered = self._process.command(command)
                assert answered == "ok", answered

        self.history.change(replace(self.history.now, **changed), act)  # type: ignore[arg-type]

    def become(self, name: str) -> None:
        """Execute the other program, or the same one again."""
        self._program += 1
        word = self._word(name)
        loading = Memory(name, word, is_loading=True)
        self.execs += 1

        def execute() -> None:
            self._process.send(f"become {self._programs[name]} {word}")
            self._process.await_ready()

        self.history.change(loading, execute)
        self._change(is_loading=False)

    def close(self, page: int) -> None:
        """Make a page unreadable."""
        self._change(f"close {page}", others={**self.history.now.others, page: "no_access"})

    def drop(self, page: int) -> None:
        """Unmap a page."""
        self._change(f"drop {page}", others={**self.history.now.others, page: "unmapped"})

    def restore_all(self) -> None:
        """Have all pages again."""
        for page in [*self.history.now.others]:
            if page not in MISSING_PAGES:
                others = {**self.history.now.others}
                del others[page]
                self._change(f"restore {page}", others=others)

    def hang(self) -> None:
        """Have pages that do not come."""
        now = self.history.now
        closed = {**now.others, **dict.fromkeys(MISSING_PAGES, "no_access")}
        others = {page: why for page, why in now.others.items() if page not in MISSING_PAGES}
        self.history.change(
            replace(now, others=closed),
            lambda: self._change("hang", hangs=True, others=others),
        )

    def resolve(self) -> None:
        """Let them come."""
        there = dict.fromkeys(MISSING_PAGES, "data")
        self._change("resolve", hangs=False, others={**self.history.now.others, **there})

    def stop(self) -> None:
        self._process.kill(signal.SIGSTOP)

    def go_on(self) -> None:
        self._process.kill(signal.SIGCONT)

    def die(self) -> None:
        """Be killed; its number is still its own."""

        def act() -> None:
            self._process.kill()
            self._process.await_zombie()

        self.history.change(replace(self.history.now, is_alive=False), act)

    def reap(self) -> None:
        """Give up the number."""
        self._process.end()


class Cast:
    """All targets: those that live, and those whose death is not long ago."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._programs = programs_in(folder)
        self._stack = stack
        self._started = 0
        self.living: list[Actor] = []
        self.by_id: dict[str, Actor] = {}
        self.spotlight: Actor | None = None
        """The one to which something happens, which is the one to be asked."""

    def start(self, name: str) -> Actor:
        """Begin one more."""
        self._started += 1
        return self._stack.enter_context(Actor(self._started, name, self._programs))
