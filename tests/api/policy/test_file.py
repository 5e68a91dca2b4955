"""What a policy's file may say, and what is said of mistakes in it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farpeek.model import Mode
from farpeek_api.policy import file, tokens
from farpeek_api.policy.verbs import Verb

if TYPE_CHECKING:
    from pathlib import Path

TOKEN = tokens.make()
GOOD = f"""\
[clients.profiler]
token_sha256 = ["{tokens.digest(TOKEN)}"]
verbs = ["inspect", "read"]
modes = ["nowait"]
targets = [
  {{ exe = "/usr/bin/ruby*" }},  # the first
  {{ container = "3f2a*", uid = [1000] }},
]
rate = {{ bytes_per_s = "64MiB", requests_per_s = 10 }}

[clients.'the.gateway']
unix_uid = 7
verbs = ["read"]
impersonate = ["profiler"]
[[clients."the.gateway".targets]]
comm = "*"
[[clients."the.gateway".targets]]
labels.job = "nightly"
"""


def parse(text: str) -> file.Policy:
    return file.parse(text, "policy.toml")


def mistakes(text: str) -> list[str]:
    with pytest.raises(file.PolicyError) as refused:
        parse(text)
    return str(refused.value).splitlines()


def test_a_policy_is_what_its_file_says() -> None:
    policy = parse(GOOD)
    profiler, gateway = policy.clients["profiler"], policy.clients["the.gateway"]
    assert profiler.verbs == {Verb.INSPECT, Verb.READ}
    assert profiler.modes == {Mode.NOWAIT}
    assert profiler.rate.bytes_per_s == 64 << 20
    assert profiler.rate.burst == 10
    assert [each.place for each in profiler.targets] == [
        "clients.profiler.targets[0], line 6",
        "clients.profiler.targets[1], line 7",
    ]
    assert gateway.targets[1].place == "clients.the.gateway.targets[1], line 17"
    assert gateway.modes == set(Mode)
    assert gateway.impersonates == {"profiler"}
    assert policy.identifiers.tokens[tokens.digest(TOKEN)] == "profiler"
    assert policy.identifiers.by_peer(7, 0) == "the.gateway"
    assert policy.identifiers.by_peer(8, 0) is None


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("modes =", "mode =", ":4:1: clients.profiler.mode: there is no such member: is `modes` m"),
        ('exe = "/usr', 'exec = "/usr', ":6:5: clients.profiler.targets[0].exec: there is no such"),
        ('"read"]\nmodes', '"reed"]\nmodes', ":3:21: clients.profiler.verbs[1]: is none of inspe"),
        ("uid = [1000]", 'uid = ["me"]', ":7:33: clients.profiler.targets[1].uid[0]: input shoul"),
        ('"64MiB"', '"64 megs"', ":9:10: clients.profiler.rate.bytes_per_s: write a number of b"),
        ("[clients.profiler]\n", "[clients.profiler]\nexpires = 2027-01-01\n", ":2:1: clients.pr"),
        ("[clients.profiler]\n", "[clients.profiler\n", ":1:18: is no TOML: "),
        ('"profiler"]', '"profler"]', ":14:16: clients.the.gateway.impersonate[0]: there is no"),
        ("unix_uid = 7", "", ":11:1: clients.the.gateway: nobody can be this client: give it tok"),
        ('comm = "*"', "", ":15:1: clients.the.gateway.targets[0]: says nothing: name comm, exe"),
        ('verbs = ["read"]', "", ":11:1: clients.the.gateway.verbs: is missing"),
        ("token_sha256 = [", "token_sha256 = ['x', ", ":2:17: clients.profiler.token_sha256[0]: i"),
        ("clients.profiler]", "clients.'pro filer']", ":1:1: clients.pro filer: is no name: it ha"),
    ],
)
def test_a_mistake_is_told_with_its_line_its_column_and_a_cure(
    old: str, new: str, told: str
) -> None:
    assert old in GOOD
    found = mistakes(GOOD.replace(old, new, 1))
    assert any(line.startswith(f"policy.toml{told}") for line in found), found


@pytest.mark.parametrize("member", ["token_sha256", "unix_uid", "unix_gid", "tls_san"])
def test_nobody_is_two_clients(member: str) -> None:
    value = f'"{"a" * 64}"' if member in ("token_sha256", "tls_san") else "5"
    one = f'{member} = {value}\nverbs = ["read"]\n'
    found = mistakes(f"[clients.a]\n{one}[clients.b]\n{one}")
    place = f"policy.toml:5:1: clients.b.{member}[0]: "
    assert found == [place + "is the client 'a' already: nobody can be two of them"]


def test_a_rule_on_comm_alone_is_warned_of() -> None:
    assert parse(GOOD.replace("uid = [1000]", 'comm = "x"')).warnings == []
    (warning,) = parse(GOOD.replace("exe =", "comm =", 1)).warnings
    assert warning.startswith("policy.toml:6:3: clients.profiler.targets[0] rests on comm alone")


def test_of_many_mistakes_some_are_told() -> None:
    found = mistakes("[clients.a]\n" + "".join(f"x{number} = 1\n" for number in range(1000)))
    assert len(found) == file.MOST_SHOWN + 1
    assert found[-1].endswith("mistakes more")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"a" * (file.LARGEST_FILE + 1), ": is over 1 MiB: no policy is that long"),
        (b"# \xff", ":1:3: is no UTF-8, as TOML is"),
        (b"a = " + b"[" * 100_000, ""),
    ],
)
def test_a_file_that_cannot_be_one_is_refused(tmp_path: Path, content: bytes, told: str) -> None:
    path = tmp_path / "policy.toml"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(file.PolicyError) as refused:
        file.read(path)
    assert str(refused.value).startswith(f"{path}{told}")


def test_a_file_that_others_may_write_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(GOOD)
    path.chmod(0o660)
    with pytest.raises(file.PolicyError, match="others can write to it: chmod go-w it"):
        file.read(path)
    path.chmod(0o644)
    os.chown(path, 12345, -1)
    with pytest.raises(file.PolicyError, match="belongs to somebody else"):
        file.read(path)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", tmp_path, tmp_path / "nothing"):
        with pytest.raises(file.PolicyError):
            file.read(path)


PIECES = st.sampled_from(
    [*GOOD.splitlines(keepends=True), "\n", "[", "]]", "{", '"', "'''", "=", ".", "1", "clients"]
)


def is_policy_or_refused(text: str) -> bool:
    """Return whether it is one; raises what a caller would not expect."""
    try:
        parse(text)
    except file.PolicyError as error:
        return str(error).startswith("policy.toml")
    return True


@given(st.lists(PIECES | st.text(max_size=8), max_size=30).map("".join))
def test_a_broken_file_is_refused_and_never_worse(text: str) -> None:
    assert is_policy_or_refused(text)


@given(st.integers(0, len(GOOD)), st.integers(0, 12), st.text(max_size=4))
def test_a_file_that_was_cut_is_refused_and_never_worse(start: int, length: int, new: str) -> None:
    assert is_policy_or_refused(GOOD[:start] + new + GOOD[start + length :])


@pytest.mark.parametrize(
    ("text", "place", "cure"),
    [
        ("\nx = " + "1" * 5000, "2:5", "too many digits"),
        ("\n a" + ".a" * 100 + " = 1", "2:2", "too many parts"),
        ("\n['a'" + " . b" * 100 + "]", "2:2", "too many parts"),
        ('"a\\n\\u001b[2J" = 1', "1:1", r'"a\n\u001b[2J"'),
    ],
)
def test_odd_keys_and_numbers_are_told_in_one_line(text: str, place: str, cure: str) -> None:
    with pytest.raises(file.PolicyError) as caught:
        file.parse(text, "policy")
    told = next(line for line in str(caught.value).split("\n") if cure in line)
    assert told.startswith(f"policy:{place}: ")
    assert all(line.startswith("policy:") for line in str(caught.value).split("\n"))
