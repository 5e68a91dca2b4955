"""Lines out of entries, each with what stands for the one before. Runs in the audit's thread."""

from __future__ import annotations

import json
import os
import time
from datetime import UTC, datetime
from json.encoder import encode_basestring_ascii
from typing import TYPE_CHECKING, Any, Final

import farpeek
from farpeek_api.audit import chain

if TYPE_CHECKING:
    from collections.abc import Mapping

    from farpeek.identity import Identity
    from farpeek_api.audit.chain import Link
    from farpeek_api.audit.entry import Entry, Peer

_LONGEST_ID: Final = 64
"""Characters of a target's id: what a client calls one may be anything."""

_MOST_KEPT: Final = 4096
"""Targets, and clients, of which the text is kept; then all of them are forgotten."""

_DIGITS: Final = tuple(f"{number:03d}" for number in range(1000))
"""Looked up, since to format the microseconds of a line would take as long as its hash."""


class Lines:
    """Makes lines that go on from ``last``, one behind the other."""

    def __init__(self, last: Link) -> None:
        self._seq, self._hash = last
        self._second = -1
        self._shown_second = ""
        self._clients: dict[tuple[str | None, str | None, Peer], str] = {}
        self._targets: dict[str, tuple[Identity | None, str]] = {}
        self._words: dict[str | None, str] = {None: "null"}  # verbs, and how something ended

    @property
    def last(self) -> Link:
        """The last line."""
        return chain.Link(self._seq, self._hash)

    def of(self, entry: Entry) -> bytes:
        """Make the line of an entry, with its newline."""
        who = entry.client, entry.by, entry.peer
        name, words = entry.request_id, self._words
        if entry.part is not None:
            name = f"{name}#{entry.part}"
        reads = "" if entry.reads is None else f',"reads":{entry.reads}'
        return self._chained(
            entry.at,
            f'{self._clients.get(who) or self._client(*who)},"request_id":{_quoted(name)},'
            f'"verb":{words.get(entry.verb) or self._word(entry.verb)},'
            f'"target":{self._target(entry)},"ranges":{_ranges(entry)},'
            f'"range_count":{entry.range_count},"bytes":{entry.bytes},"gaps":{entry.gaps},'
            f'"outcome":{words.get(entry.outcome) or self._word(entry.outcome)},'
            f'"duration_us":{entry.duration_us}{reads}',
        )

    def note(self, event: str, members: Mapping[str, Any]) -> bytes:
        """Make a line of what became of the audit itself."""
        return self._chained(time.time(), _text({"event": event, **members})[1:-1])

    def start(self, before: Link | None, *, is_cut: bool) -> bytes:
        """Make the line of a start, which says what it goes on from."""
        goes_on_from = None
        if before is not None:
            goes_on_from = {"seq": before.seq, "cut": is_cut}
        return self.note(
            chain.START,
            {"version": farpeek.__version__, "pid": os.getpid(), "goes_on_from": goes_on_from},
        )

    def _chained(self, at: float, text: str) -> bytes:
        self._seq += 1
        second = int(at)
        if self._second != second:
            self._show_second(second)
        millis, micros = divmod(int((at - second) * 1e6), 1000)
        line = (
            f'{{"time":"{self._shown_second}.{_DIGITS[millis]}{_DIGITS[micros]}Z",'
            f'"seq":{self._seq},{text},"prev":"{self._hash}"}}'
        ).encode()
        self._hash = chain.digest(line)
        return line + b"\n"

    def _show_second(self, second: int) -> None:
        self._second = second
        self._shown_second = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))

    def _word(self, word: str | None) -> str:
        """Show a word of which there are few."""
        shown = _text(word)
        _keep(self._words, word, shown)
        return shown

    def _client(self, client: str | None, by: str | None, peer: Peer) -> str:
        """Show a client, with whoever asks for it, and the other end of its connection."""
        shown_by = "" if by == client else f',"by":{_text(by)}'
        shown = f'"client":{_text(client)}{shown_by},"peer":{_peer(peer)}'
        _keep(self._clients, (client, by, peer), shown)
        return shown

    def _target(self, entry: Entry) -> str:
        name, identity = entry.target, entry.identity
        if name is None:
            return "null" if entry.pid is None else _text(_process(entry.pid))
        known = self._targets.get(name)
        if known is not None and known[0] is identity:
            return known[1]
        shown = _text(_target(name, identity))
        _keep(self._targets, name, (identity, shown))
        return shown


def _keep(kept: dict[Any, Any], name: object, value: object) -> None:
    if len(kept) >= _MOST_KEPT:
        kept.clear()
    kept[name] = value


# JSON in ASCII, so that no name of a process or a client does anything to a terminal.


def _quoted(text: str) -> str:
    shown = encode_basestring_ascii(text)  # a fifth of the time that dumps() takes
    return shown.replace("\x7f", "\\u007f") if "\x7f" in shown else shown


def _text(value: object) -> str:
    return json.dumps(value, separators=(",", ":")).replace("\x7f", "\\u007f")


def _peer(peer: Peer) -> str:
    if isinstance(peer, str):
        return _text({"address": peer})
    uid, pid = peer
    return f'{{"uid":{uid},"pid":{pid}}}'


def _ranges(entry: Entry) -> str:
    if entry.ranges is None:
        return "[]"
    addresses, lengths = entry.ranges
    if len(addresses) == len(lengths) == 1:  # most; a fifth of a line's time less
        return f'[["{hex(addresses[0])}",{lengths[0]}]]'  # in half the time that `:#x` takes
    pairs = zip(map(hex, addresses), lengths, strict=False)  # what does not fit is refused later
    shown = ",".join([f'["{address}",{length}]' for address, length in pairs])
    return f"[{shown}]"


def _process(pid: int | None) -> dict[str, object]:
    """Show a process of which nothing but its number is known, at most."""
    others = dict.fromkeys(("start_time", "exe", "comm", "uid", "container"))
    return {"id": None, "pid": pid, **others}


def _target(name: str, identity: Identity | None) -> dict[str, object]:
    shown: dict[str, object] = {"id": name[:_LONGEST_ID]}
    if identity is None:
        return {**_process(None), **shown}
    started = datetime.fromtimestamp(identity.start_time, UTC).isoformat(timespec="milliseconds")
    return {
        **shown,
        "pid": identity.pid,
        "start_time": started.replace("+00:00", "Z"),
        "exe": identity.exe,
        "comm": identity.comm,
        "uid": identity.uid,
        "container": identity.container,
    }
