"""What `farpeek agent` and `farpeek gateway` say of wrong words, before they connect."""

from __future__ import annotations

import signal

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


BY_HTTP = ("--nats", "nats://127.0.0.1:1", "--listen", "http://127.0.0.1:0", "--client", "alice")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "--listen"),
        (BY_HTTP[2:], "where is the broker"),
        (BY_HTTP[:4], "in whose name"),
        ((*BY_HTTP, "--client", "up"), "no client's name"),
        ((*BY_HTTP, "--nkeys", "/nowhere"), "NAME.nk"),
        ((*BY_HTTP, "--nkey", "/nowhere"), "/nowhere"),
        ((*BY_HTTP, "--policy", "/nowhere"), "contradict"),
        ((*BY_HTTP[:4], "--policy", "/nowhere"), "/nowhere"),
        ((*BY_HTTP, "--listen", "http://0.0.0.0:0"), "--insecure-listen"),
        ((*BY_HTTP, "--max-targets", "3"), "no such option"),
    ],
)
def test_wrong_words_for_the_gateway_are_told_of(words: tuple[str, ...], told: str) -> None:
    found = run("gateway", *words)
    assert found.status == 2
    assert told in found.error
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
