"""Client commands, run in this process or as a user would, in a terminal."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import pexpect
import pyte

from farpeek_api.__main__ import main
from support.waiting import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Mapping

_COLOURS = {"default", ""}


@dataclass(frozen=True, slots=True)
class Ran:
    """What a command gave."""

    status: int
    output: bytes
    error: str

    @property
    def text(self) -> str:
        return self.output.decode()

    @property
    def lines(self) -> list[str]:
        return self.text.splitlines()

    @property
    def json(self) -> Any:  # noqa: ANN401 - whatever the command says
        return json.loads(self.output)


def run(*words: object) -> Ran:
    """Run a command in this process, with its output in a pipe as it were."""
    output = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    error = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(error):
        try:
            status = main([str(word) for word in words])
        except SystemExit as end:
            status = int(end.code or 0)
        output.flush()
    raw = output.detach()
    assert isinstance(raw, io.BytesIO)
    return Ran(status, raw.getvalue(), error.getvalue())


class Screen:
    """A command in a terminal of its own; what it shows is read as a terminal reads it."""

    def __init__(
        self,
        *words: object,
        columns: int = 80,
        rows: int = 50,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        variables = {
            name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLUMNS")
        }
        self.process: pexpect.spawn[bytes] = pexpect.spawn(
            sys.executable,
            ["-m", "farpeek_api", *(str(word) for word in words)],
            dimensions=(rows, columns),
            timeout=PATIENCE_S,
            env={**variables, "TERM": "xterm-256color", **(environment or {})},
        )
        self.received = b""
        self._screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self._screen)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.close(force=True)

    @property
    def status(self) -> int:
        """The exit status as a shell tells it.

        Python ends itself by SIGINT, too, where that came while it made a dataclass of an import.
        """
        if self.process.signalstatus is not None:
            return 128 + int(self.process.signalstatus)
        return int(self.process.exitstatus)

    def finish(self) -> int:
        """Wait for its end; the exit status."""
        self._take(pexpect.EOF)
        self.process.wait()  # or close would end it, by signals of its own
        self.process.close()
        return self.status

    def expect(self, text: str) -> None:
        """Wait until it writes that."""
        self._take(text)

    def _take(self, what: object) -> None:
        self.process.expect(what)
        self._feed(self.process.before)
        self._feed(self.process.after)

    def _feed(self, received: object) -> None:
        if isinstance(received, bytes):
            self.received += received
            self._stream.feed(received)

    @property
    def lines(self) -> list[str]:
        """What it shows now, without spaces at the ends and empty lines at the end."""
        return "\n".join(line.rstrip() for line in self._screen.display).rstrip().splitlines()

    @property
    def is_coloured(self) -> bool:
        """Whether any sign on it has a style."""
        return any(
            sign.fg not in _COLOURS or sign.bold
            for row in self._screen.buffer.values()
            for sign in row.values()
        )

    def colour(self, text: str) -> str:
        """Return the colour of the first place where ``text`` is a word of its own."""
        alone = re.compile(rf"(?<!\w){re.escape(text)}(?!\w)")
        for number, line in enumerate(self._screen.display):
            if found := alone.search(line):
                return str(self._screen.buffer[number][found.start()].fg)
        raise AssertionError(f"{text!r} is not on the screen: {self.lines}")


def screen(
    *words: object,
    columns: int = 80,
    rows: int = 50,
    environment: Mapping[str, str] | None = None,
) -> Screen:
    """Run a command in a terminal to its end; `Screen.status` is its exit status."""
    with Screen(*words, columns=columns, rows=rows, environment=environment) as shown:
        shown.finish()
        return shown
