"""What `farpeek agent` says of wrong words, before it connects to anything."""

from __future__ import annotations

import pytest

from support.commands import run

ALL = ("--nats", "nats://127.0.0.1:1", "--node", "n1", "--url", "unix:/nowhere")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "where is the broker"),
        (("--nats", "nats://127.0.0.1:1"), "how is this host called"),
        ((*ALL, "--node", "N1"), "is no node's name"),
        ((*ALL, "--node", "all"), "several nodes"),
        ((*ALL, "--label", "zone"), "write KEY=VALUE"),
        ((*ALL, "--url", "http://127.0.0.1:7335"), "beside the service"),
        ((*ALL, "--nkey", "/nowhere"), "/nowhere"),
        ((*ALL, "--deadline", "0"), "--deadline"),
    ],
)
def test_wrong_words_are_told_of(words: tuple[str, ...], told: str) -> None:
    found = run("agent", *words)
    assert found.status == 2
    assert told in found.error
