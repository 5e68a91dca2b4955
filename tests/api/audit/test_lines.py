"""What stands in a line, whatever a client and a process call themselves."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farpeek.kernel import names
from farpeek_api.audit import chain
from farpeek_api.audit.entry import MOST_RANGES, Entry
from farpeek_api.audit.lines import Lines
from support.audits import MEMBERS
from support.every_error import IDENTITY

HOSTILE = [
    b"two\nlines",
    b'"},{"seq":1}',
    b"\x1b[2J\x1b]0;title\x07",
    b"\xff\xfe\x80",
    b"back\\slash\\u000a",
    "\u202egnirts \u2028 \U0001f600".encode(),
    b"\x7f\x00 del",
]


def line_of(entry: Entry) -> bytes:
    return Lines(chain.FIRST).of(entry)


def made(**members: object) -> Entry:
    entry = Entry("r-1", (1000, 4711))
    entry.client = entry.by = "alice"
    for name, value in members.items():
        setattr(entry, name, value)
    entry.stamp("done")
    return entry


def test_a_line_has_its_members_and_no_others() -> None:
    entry = made(verb="read", target="4242-1", identity=IDENTITY, bytes=8)
    entry.names([0x1000, 0x2000], [8, 16])
    line = json.loads(line_of(entry))
    assert list(line) == MEMBERS
    assert line["client"] == "alice"
    assert line["peer"] == {"uid": 1000, "pid": 4711}
    assert line["target"] == {
        "id": "4242-1",
        "pid": 4242,
        "start_time": "2026-06-02T12:22:26.120Z",
        "exe": "/usr/bin/ruby3.1",
        "comm": "ruby",
        "uid": 1000,
        "container": None,
    }
    assert line["ranges"] == [["0x1000", 8], ["0x2000", 16]]
    assert (line["range_count"], line["bytes"], line["gaps"]) == (2, 8, 0)


@given(seconds=st.integers(0, 1 << 32), micros=st.integers(0, 999_999))
def test_a_line_says_to_the_microsecond_when_it_ended(seconds: int, micros: int) -> None:
    entry = made()
    entry.at = seconds + micros / 1e6
    shown = datetime.fromisoformat(json.loads(line_of(entry))["time"])
    apart = shown - datetime(1970, 1, 1, tzinfo=UTC)
    assert abs(apart - timedelta(seconds=seconds, microseconds=micros)) <= timedelta(microseconds=1)


def test_each_line_has_words_of_its_own() -> None:
    lines = Lines(chain.FIRST)
    told = [("read", "done"), (None, "forbidden"), ("write", "done"), ("read", "read"), (None, "")]
    for verb, outcome in told * 2:
        entry = made(verb=verb)
        entry.stamp(outcome)
        line = json.loads(lines.of(entry))
        assert (line["verb"], line["outcome"]) == (verb, outcome)


def test_of_columns_of_which_one_is_long_the_first_are_named() -> None:
    entry = made()
    entry.names([1], [2] * 100_000)
    assert entry.ranges == ([1], [2] * MOST_RANGES)


def test_who_asks_for_another_is_named_besides() -> None:
    line = json.loads(line_of(made(by="gateway")))
    assert (line["client"], line["by"]) == ("alice", "gateway")


def test_of_many_ranges_the_first_are_named_and_all_counted() -> None:
    entry = made()
    entry.names(list(range(1000)), [1] * 1000)
    line = json.loads(line_of(entry))
    assert line["range_count"] == 1000
    assert line["ranges"] == [[hex(at), 1] for at in range(MOST_RANGES)]


def test_columns_that_do_not_fit_together_make_a_line_too() -> None:
    """They are refused, but not before they are named."""
    entry = made()
    entry.names([0x1000, 0x2000], [8])
    assert json.loads(line_of(entry))["ranges"] == [["0x1000", 8]]


@pytest.mark.parametrize("name", HOSTILE)
def test_what_a_process_says_of_itself_stays_within_its_line(name: bytes) -> None:
    text = names.shown(name)
    identity = replace(IDENTITY, comm=text, exe=text, container=text)
    line = line_of(made(client=text, request_id=text, target=text, identity=identity))
    assert line.endswith(b"\n")
    assert all(0x20 <= byte < 0x7F for byte in line[:-1])
    shown = json.loads(line)
    assert shown["target"]["comm"] == shown["target"]["exe"] == text


@given(text=st.text(st.characters()))  # lone surrogates too
def test_any_text_makes_a_line(text: str) -> None:
    line = line_of(made(client=text, target=text))
    assert line.isascii()
    assert b"\n" not in line[:-1]
    assert json.loads(line)["client"] == text


def test_a_target_that_has_become_another_is_shown_as_it_is_now() -> None:
    lines = Lines(chain.FIRST)
    lines.of(made(target="1-1", identity=IDENTITY))
    changed = replace(IDENTITY, comm="vault")
    assert json.loads(lines.of(made(target="1-1", identity=changed)))["target"]["comm"] == "vault"


def test_each_line_vouches_for_the_one_before() -> None:
    lines = Lines(chain.FIRST)
    first, second = lines.of(made()), lines.of(made())
    assert json.loads(first)["prev"] == chain.NOTHING
    assert json.loads(second)["prev"] == chain.digest(first[:-1])
    assert [json.loads(line)["seq"] for line in (first, second)] == [1, 2]
