"""Tokens, and the commands about them and about policies."""

from __future__ import annotations

import hashlib
import subprocess
from typing import TYPE_CHECKING

import pytest

from farpeek_api.policy import file, tokens
from support.commands import run
from support.targets import start

if TYPE_CHECKING:
    from pathlib import Path


def test_a_token_is_known_for_whole_or_broken_by_itself() -> None:
    token = tokens.make()
    assert token.startswith("fp_")
    assert not tokens.is_broken(token)
    assert tokens.is_broken(token[:-1])
    assert tokens.is_broken(token[:10] + ("a" if token[10] != "a" else "b") + token[11:])
    assert not tokens.is_broken("some other kind")


def test_a_new_token_comes_with_the_entry_that_lets_it_in() -> None:
    found = run("token", "new", "my.profiler")
    token, _, entry = found.text.partition("\n")
    assert not tokens.is_broken(token)
    assert token not in entry
    policy = file.parse(entry, "policy.toml")
    digest = hashlib.sha256(token.encode()).hexdigest()
    assert policy.identifiers.tokens == {digest: "my.profiler"}
    assert run("token", "new", "no name").status == 2


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "policy.toml"
    path.write_text(
        '[clients.a]\nunix_uid = 1\nverbs = ["read"]\nmodes = ["nowait"]\n'
        'targets = [{ uid = 0, comm = "mine" }]\ndeny = [{ comm = "second" }]\n'
    )
    path.chmod(0o600)
    return path


def check(policy: Path, *words: object) -> tuple[int, str]:
    found = run("policy", "check", str(policy), *map(str, words))
    return found.status, found.text


def test_a_check_says_what_is_decided_and_by_which_line(policy: Path) -> None:
    assert check(policy)[0] == 0
    with start("plain", "--name", "mine") as process:
        ask = ("--as", "a", "--pid", process.pid)
        status, text = check(policy, *ask)
        assert (status, text) == (
            0,
            f"allowed: the process fits ({policy}: clients.a.targets[0], line 5)\n",
        )
        assert check(policy, *ask, "--mode", "wait")[0] == 1
        assert check(policy, *ask, "--verb", "write") == (
            1,
            f"refused: the client lacks the verb `write` ({policy}: clients.a.verbs, line 3)\n",
        )
        process.send("exec 2")
        process.await_ready()
        assert "clients.a.deny[0], line 6" in check(policy, *ask)[1]
        assert check(policy, "--as", "b", "--pid", process.pid)[0] == 2


def test_a_check_says_whether_one_may_ask_for_another(policy: Path) -> None:
    policy.write_text(
        '[clients.agent]\nunix_uid = 1\nverbs = ["metrics"]\nimpersonate = ["a"]\n'
        '[clients.a]\nverbs = ["read"]\n[clients.b]\nunix_uid = 2\nverbs = ["read"]\n'
    )
    assert check(policy, "--as", "agent", "--for", "a") == (
        0,
        f"allowed: the client has the verb ({policy}: clients.a.verbs, line 6)\n",
    )
    assert check(policy, "--as", "agent", "--for", "a", "--verb", "write")[0] == 1
    refused = "refused: the client may not ask for that one "
    assert check(policy, "--as", "agent", "--for", "b") == (
        1,
        refused + f"({policy}: clients.agent.impersonate, line 4)\n",
    )
    assert "(" + f"{policy}: clients.b, line 7)" in check(policy, "--as", "b", "--for", "a")[1]
    assert check(policy, "--as", "agent", "--for", "c")[0] == 2
    assert check(policy, "--for", "a")[0] == 2


def test_a_check_of_no_policy_says_where_it_is_wrong(policy: Path) -> None:
    policy.write_text("[clients.a]\nverb = []\n")
    found = run("policy", "check", str(policy))
    assert found.status == 2
    assert f"{policy}:2:1: clients.a.verb: there is no such member: is `verbs`" in found.error


@pytest.mark.parametrize("variable", ["FARPEEK_DENY=1", "PYTHON_DISABLE_REMOTE_DEBUG=x"])
def test_a_check_sees_that_a_process_has_opted_out(policy: Path, variable: str) -> None:
    policy.write_text(policy.read_text().replace('comm = "mine"', 'comm = "sleep"'))
    name, _, value = variable.partition("=")
    # Popen returns when it has been executed.
    with subprocess.Popen(["sleep", "60"], env={name: value}) as process:
        try:
            status, text = check(policy, "--as", "a", "--pid", process.pid)
        finally:
            process.kill()
    assert status == 1
    assert "the process has opted out" in text
