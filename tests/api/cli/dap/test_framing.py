"""Messages with their heads: taken apart whatever comes, within limits."""

from __future__ import annotations

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farpeek_api.cli.dap.framing import MOST_BODY, MOST_HEAD, Channel, NotDap


def channel(data: bytes) -> Channel:
    return Channel(io.BytesIO(data), io.BytesIO())


@given(st.lists(st.dictionaries(st.text(), st.text() | st.integers())))
def test_what_is_sent_is_what_comes(messages: list[dict[str, object]]) -> None:
    bodies = [json.dumps(each).encode() for each in messages]
    source = channel(b"".join(b"Content-Length: %d\r\n\r\n%b" % (len(b), b) for b in bodies))
    assert [source.receive() for _ in messages] == messages
    assert source.receive() is None


@given(st.binary(max_size=200))
def test_anything_else_is_an_end_or_no_message(data: bytes) -> None:
    try:
        message = channel(data).receive()
    except NotDap:
        return
    assert message is None or isinstance(message, dict)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"x" * (MOST_HEAD + 1), "over 4096 bytes"),
        (b"A: b\r\n" * MOST_HEAD, "over 4096 bytes"),
        (b"Content-Length: %d\r\n\r\n" % (MOST_BODY + 1), "is no number up to"),
        (b"GET / HTTP/1.1\r\n\r\n", "no Content-Length"),
        (b"Content-Length: -1\r\n\r\n", "is no number up to"),
        (b"Content-Length: 2\r\n\r\n[]", "no JSON object"),
        (b"Content-Length: 2\r\n\r\n{x", "is no JSON"),
        (b"Content-Length: 100000\r\n\r\n" + b"[" * 100_000, "is no JSON"),
    ],
)
def test_what_is_no_message_is_told(data: bytes, said: str) -> None:
    with pytest.raises(NotDap, match=said):
        channel(data).receive()


def test_a_message_that_is_cut_off_is_the_end() -> None:
    assert channel(b"Content-Length: 10\r\n\r\n{}").receive() is None
    assert channel(b"").receive() is None


def test_answers_name_their_request_and_are_counted() -> None:
    sink = io.BytesIO()
    sent = Channel(io.BytesIO(), sink)
    sent.respond({"seq": 7, "command": "threads"}, {"threads": []})
    sent.refuse({"seq": 8, "command": "evaluate"}, "{x}")
    sent.event("terminated", {})
    source = channel(sink.getvalue())
    one, two, three = source.receive(), source.receive(), source.receive()
    assert one == {
        "seq": 1,
        "type": "response",
        "request_seq": 7,
        "command": "threads",
        "success": True,
        "body": {"threads": []},
    }
    assert two is not None
    assert three is not None
    assert (two["seq"], two["success"], two["message"]) == (2, False, "{x}")
    assert two["body"]["error"]["format"] == "{text}"  # type: ignore[index]
    assert (three["seq"], three["event"]) == (3, "terminated")
