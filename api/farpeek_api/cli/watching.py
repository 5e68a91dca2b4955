"""What `farpeek watch` shows: a picture on a terminal, lines in a pipe, JSON for programs."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Protocol

from farpeek_api.cli.changes import History
from farpeek_api.cli.show.changes import Values, missing, row
from farpeek_api.cli.show.endings import counted
from farpeek_api.cli.show.escape import cut, safe
from farpeek_api.cli.show.live import live
from farpeek_api.cli.show.moments import moment
from farpeek_api.cli.show.terminal import Style

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from farpeek_api.cli.changes import Account
    from farpeek_api.cli.session import Session
    from farpeek_api.cli.show.changes import Form
    from farpeek_api.cli.show.live import Live
    from farpeek_api.cli.show.terminal import Terminal
    from farpeek_api.client import Gap, PeekError, Target, Tick

_NEW_S: Final = 1.0
"""How long a change is marked."""

_PICTURES_S: Final = 0.04
"""Between two pictures, which come no faster than anybody sees."""


class View(Protocol):
    """Shows ticks."""

    def tick(self, tick: Tick, account: Account) -> None:
        """Show one."""
        ...

    def away(self, error: PeekError) -> None:
        """Say that no ticks come for now."""
        ...

    def end(self, account: Account, ended: str | None) -> None:
        """Say what came of all; ``ended`` is why there are no more, None if they were left."""
        ...


@contextmanager
def view_of(
    session: Session, target: Target, region: tuple[int, int], form: Form
) -> Generator[View, None, None]:
    """Choose what suits whoever looks."""
    terminal = session.terminal
    history = History(region[0], form.size)
    if session.chosen.json:
        yield _Json(session, history, form)
    elif not terminal.is_terminal:
        yield _Lines(session, history, form)
    else:
        name = f"{target.pid} {safe(target.info.process.comm)}"
        head = f"{name}  {region[0]:#x}  {region[1]} bytes  {session.chosen.hz:g} Hz"
        with live(terminal) as picture:
            yield _Picture(terminal, picture, history, form, head)


class _Picture:
    """All parts, drawn again at each tick."""

    def __init__(
        self, terminal: Terminal, picture: Live, history: History, form: Form, head: str
    ) -> None:
        self._terminal = terminal
        self._picture = picture
        self._history = history
        self._form = form
        self._head = head
        self._changed_at: dict[int, float] = {}
        self._drawn_at = 0.0
        self._shown: list[str] = []

    def tick(self, tick: Tick, account: Account) -> None:
        now = time.monotonic()
        changed = self._history.add(tick.data, tick.result.gaps)
        self._changed_at |= dict.fromkeys(changed, now)
        if now - self._drawn_at >= _PICTURES_S:
            self._drawn_at = now
            self._shown = self._lines(now, tick.result.gaps)
            self._picture.draw([*self._shown, self._foot(tick, account)])

    def away(self, error: PeekError) -> None:
        self._drawn_at = 0.0  # what comes then is drawn at once
        self._picture.draw([*self._shown, self._terminal.paint(self._cut(_away(error)), Style.BAD)])

    def end(self, account: Account, ended: str | None) -> None:
        del ended
        # A ^C may stand there.
        self._terminal.line(f"\r{_summary(self._terminal, account)}\x1b[K")

    def _lines(self, now: float, gaps: Sequence[Gap]) -> list[str]:
        terminal, parts = self._terminal, self._history.parts
        room = self._picture.rows - 4
        lines = [terminal.paint(self._cut(self._head), Style.HEAD)]
        for number in range(min(len(parts), room)):
            is_new = now - self._changed_at.get(number, -_NEW_S) < _NEW_S
            lines.append(row(terminal, self._form, self._history, number, is_new=is_new))
        if len(parts) > room:
            lines.append(self._cut(f"{len(parts) - room} more rows find no room here"))
        if gaps:
            reasons = missing({each.reason for each in gaps})
            lines.append(terminal.paint(self._cut(f"-- {reasons}"), Style.BAD))
        return lines

    def _foot(self, tick: Tick, account: Account) -> str:
        text = f"{moment(tick.at)}  tick {tick.number}"
        lost = f"  {counted(account.lost, account.lost_by)}"
        room = None if self._terminal.width is None else self._terminal.width - len(text)
        shown = lost if room is None else cut(lost, room)
        return text + self._terminal.paint(shown, Style.BAD if account.lost else Style.FAINT)

    def _cut(self, text: str) -> str:
        return text if self._terminal.width is None else cut(text, self._terminal.width)


class _Lines:
    """A line for each part that has changed; all of them at first."""

    def __init__(self, session: Session, history: History, form: Form) -> None:
        self._session = session
        self._terminal = session.terminal
        self._history = history
        self._form = form

    def tick(self, tick: Tick, account: Account) -> None:
        history, form = self._history, self._form
        is_first = account.read == 1
        changed = history.add(tick.data, tick.result.gaps)
        for number in range(len(history.parts)) if is_first else changed:
            begin = f"{moment(tick.at)}  {history.address + number * form.size:x}"
            now = form.whole(history.parts[number])
            was = "" if is_first else f"{form.whole(history.before[number])} -> "
            self._terminal.line(f"{begin}  {was}{now}")
        self._terminal.flush()

    def away(self, error: PeekError) -> None:
        self._session.complain(_away(error))

    def end(self, account: Account, ended: str | None) -> None:
        del ended
        self._session.complain(_summary(self._terminal, account))


class _Json:
    """A document for each reading that is other than the one before; then a sum."""

    def __init__(self, session: Session, history: History, form: Form) -> None:
        self._session = session
        self._history = history
        self._form = form
        self._dropped = 0
        self._dropped_by: dict[str, int] = {}
        self._before: object = None

    def tick(self, tick: Tick, account: Account) -> None:
        self._dropped += tick.dropped
        for name, count in tick.dropped_by.items():
            self._dropped_by[name] = self._dropped_by.get(name, 0) + count
        if not self._history.add(tick.data, tick.result.gaps) and account.read > 1:
            return
        now = self._shown(tick.data)
        name = "values" if isinstance(self._form, Values) else "data"
        self._write(
            {
                "tick": tick.number,
                "at": tick.at.isoformat().replace("+00:00", "Z"),
                "target": tick.result.target,
                "address": hex(self._history.address),
                name: now,
                "before": self._before,
                "gaps": tick.result.members.get("gaps"),
                "dropped": self._dropped,
                "dropped_by": self._dropped_by,
            }
        )
        self._before, self._dropped, self._dropped_by = now, 0, {}

    def away(self, error: PeekError) -> None:
        self._session.complain(_away(error))

    def end(self, account: Account, ended: str | None) -> None:
        self._write({"ended": ended or "left", **account.members})

    def _shown(self, data: bytes) -> object:
        form = self._form
        if isinstance(form, Values):
            return [form.json(part) for part in self._history.parts]
        return data.hex()

    def _write(self, shown: dict[str, object]) -> None:
        self._session.json(shown)
        self._session.terminal.flush()


def _away(error: PeekError) -> str:
    return f"{error}; it goes on once the service is back"


def _summary(terminal: Terminal, account: Account) -> str:
    lost = terminal.paint(counted(account.lost, account.lost_by), Style.BAD if account.lost else "")
    return f"{account.last} ticks: {account.read} read, {lost}"
