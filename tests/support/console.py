"""Pages of the documentation, carried out: what they show to type is typed, and must show the same.

A block ```` ```console ```` is a shell session: a line that begins with `$ ` is a command, those
that begin with `> ` go on with it, and the others are what it shows. Numbers and spaces may differ,
and `...` stands for anything. A command ends with status 0, or with N where `# status N` is behind
it. What a command in the background shows is waited for.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

PATIENCE_S = 30.0

_BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_STATUS = re.compile(r"# status (\d+)\s*$")
_END = re.compile(rb"\n=end=(\d+)=\n")


@dataclass(frozen=True)
class Step:
    """A command, and what it is to show; None: whatever it does."""

    command: str
    shown: str | None
    status: int = 0

    @property
    def is_in_background(self) -> bool:
        return re.search(r"&(\s*\w+=\$!)?\s*$", self.command) is not None


def steps(page: str) -> Iterator[Step]:
    """Take apart all sessions of a page."""
    for block in _BLOCK.findall(page):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            lines = part.splitlines()
            count = 1
            while count < len(lines) and re.match(">( |$)", lines[count]):
                count += 1
            command = "\n".join([lines[0], *(line[2:] for line in lines[1:count])])
            shown = "\n".join(lines[count:]).strip()
            status = _STATUS.search(command)
            yield Step(command, shown or None, int(status[1]) if status else 0)


def matches(wanted: str, shown: str) -> bool:
    """Whether ``shown`` is what a page says."""
    parts = [re.escape(_plain(part)) for part in wanted.split("...")]
    return re.search(".*?".join(parts), _plain(shown)) is not None


def _plain(text: str) -> str:
    text = re.sub(r"\b[0-9a-f]{8,16}\b", "#", text)
    # A rate has another unit on another machine.
    text = re.sub(r"0x[0-9a-f]+|\d+(?:\.\d+)?(?:[KMGT]\b)?", "#", text)
    return re.sub(r"\s+", "", text)


class Shell:
    """A shell that does one step after the other."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            cwd=folder,
            env={**os.environ, **environment, "PS1": "", "PS2": ""},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def do(self, step: Step) -> str:
        """Do a step, and give what it has shown. AssertionError where that is something else."""
        process = self._process
        assert process.stdin is not None
        process.stdin.write(f"{step.command}\nprintf '\\n=end=%d=\\n' $?\n".encode())
        process.stdin.flush()
        shown = self._until(lambda seen: _END.search(seen) is not None)
        end = _END.search(shown)
        assert end is not None, f"{step.command} does not end: {shown.decode()}"
        text = (shown[: end.start()] + shown[end.end() :]).decode()
        assert int(end[1]) == step.status, f"{step.command} ended with {int(end[1])}: {text}"
        if step.shown is not None and step.is_in_background:
            wanted = step.shown
            text += self._until(lambda seen: matches(wanted, text + seen.decode())).decode()
        if step.shown is not None:
            assert matches(step.shown, text), f"{step.command}\nshows\n{text}\nnot\n{step.shown}"
        return text

    def _until(self, is_enough: object) -> bytes:
        assert callable(is_enough)
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        seen = b""
        give_up = time.monotonic() + PATIENCE_S
        while not is_enough(seen) and time.monotonic() < give_up:
            if select.select([descriptor], [], [], 0.2)[0]:
                data = os.read(descriptor, 1 << 16)
                if not data:
                    break
                seen += data
        return seen

    def end(self) -> None:
        """End it, and all that it has started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGTERM)
        time.sleep(0.05)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.communicate(timeout=PATIENCE_S)


def carry_out(page: Path, folder: Path, environment: Mapping[str, str]) -> int:
    """Do what a page shows, from its beginning to its end; answers how many steps it has."""
    shell = Shell(folder, environment)
    count = 0
    try:
        for step in steps(page.read_text()):
            shell.do(step)
            count += 1
    finally:
        shell.end()
    return count
