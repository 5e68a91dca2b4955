"""`farpeek fleet`: what nodes say, and at the end who has said nothing."""

from __future__ import annotations

import base64
import json
import signal
from typing import TYPE_CHECKING

import nkeys
import pytest

from farpeek_api.bus import permits
from farpeek_api.cli import statuses
from farpeek_api.cli.fleet import COMMANDS, command
from support.commands import Ran, Screen, run
from support.example_requests import COMM

if TYPE_CHECKING:
    from support.fleet import Fleet

DID = statuses.DONE


def asked(fleet: Fleet, *words: object, client: str = "alice") -> Ran:
    return run("fleet", *map(str, words), "--nats", fleet.broker.url("alice"), "--client", client)


def test_ls_lists_nodes_and_names_those_that_are_not_there(fleet: Fleet) -> None:
    ran = asked(fleet, "ls")
    assert (ran.status, ran.error) == (DID, "")
    assert ran.lines[1].split()[:3] == ["n1", "up", "now"]
    assert "zone=a" in ran.text
    some = asked(fleet, "ls", "--nodes", "n1,n9", "--json")
    assert some.status == statuses.INCOMPLETE
    assert [(each["node"], each["state"]) for each in some.json["nodes"]] == [
        ("n1", "up"),
        ("n9", "unknown"),
    ]
    assert some.json["nodes"][0]["labels"] == {"zone": "a"}
    assert (some.json["answered"], some.json["silent"]) == (["n1"], ["n9"])
    assert "n9: it is not connected" in some.error
    assert "1 answered, 0 refused, 1 silent" in some.error


def test_ps_lists_processes_with_their_nodes(fleet: Fleet) -> None:
    pid = fleet.asking.process.pid
    ran = asked(fleet, "ps", f"comm={COMM}", "--label", "zone=a")
    assert ran.status == DID
    assert any({"n1", str(pid)} <= set(line.split()) for line in ran.lines)
    assert ran.lines[0].split()[:2] == ["NODE", "PID"]
    assert "MEMORY" in ran.lines[0]
    some = asked(fleet, "ps", COMM[:5], "--nodes", "n1,n9", "--json")
    assert some.status == statuses.INCOMPLETE
    assert ("n1", pid) in [(each["node"], each["pid"]) for each in some.json["processes"]]
    assert some.json["silent"] == ["n9"]
    nothing = asked(fleet, "ps", "comm=nobody-at-all", "--limit", 1)
    assert (nothing.status, "no process fits" in nothing.error) == (statuses.NO_TARGET, True)


def test_read_shows_what_farpeek_read_does(fleet: Fleet) -> None:
    address = hex(fleet.asking.address)
    pid = fleet.asking.process.pid
    ran = asked(fleet, "read", f"comm={COMM}", address, 32, "--nodes", "n1")
    to_node = ("--node", "n1", "--nats", fleet.broker.url("alice"), "--client", "alice")
    alone = run("read", str(pid), address, "32", *to_node)
    begin = ran.lines.index(f"n1  pid {pid}  {COMM}") + 1  # others of that name may be there
    assert ran.lines[begin : begin + len(alone.lines)] == alone.lines
    read = asked(fleet, "read", f"comm={COMM}", address, 32, "--nodes", "n1,n9", "--json")
    assert (read.status, read.json["silent"]) == (statuses.INCOMPLETE, ["n9"])
    (one,) = [each for each in read.json["reads"] if each["pid"] == pid]
    assert (one["node"], len(base64.b64decode(one["data"]))) == ("n1", 32)
    hole = asked(fleet, "read", f"comm={COMM}", "0x10", 8, "--nodes", "n1")
    assert hole.status == statuses.INCOMPLETE
    wrong = asked(fleet, "read", f"comm={COMM}", "no_such_symbol", 8, "--nodes", "n1")
    assert wrong.status == statuses.INCOMPLETE
    assert "no_such_symbol" in wrong.error


def test_run_asks_for_anything_and_tells_who_answered(fleet: Fleet) -> None:
    ran = asked(fleet, "run", "list_processes", "--query", f"comm={COMM}", "--nodes", "n1,n9")
    told = sorted(map(json.loads, ran.lines[:-1]), key=lambda each: str(each["node"]))
    assert ran.status == statuses.INCOMPLETE
    assert told[0]["body"]["processes"][0]["comm"] == COMM
    assert told[1]["problem"]["type"].endswith(":unknown-node")
    assert json.loads(ran.lines[-1])["silent"] == ["n9"]
    refused = asked(fleet, "run", "get_target", "1-1", "--nodes", "n1")
    assert refused.status == statuses.NO_TARGET
    assert json.loads(refused.lines[0])["problem"]["type"].endswith(":no-such-target")


def test_a_write_is_for_one_node(fleet: Fleet) -> None:
    text = base64.b64encode(b"run").decode()
    body = json.dumps({"addresses": [hex(fleet.asking.address + 256)], "data": [text]})
    words = ("run", "writev", fleet.asking.target, "--body", body)
    for whom in ((), ("--label", "zone=a"), ("--nodes", "n1,n9")):
        ran = asked(fleet, *words, *whom)
        assert (ran.status, "name it with --nodes" in ran.error) == (statuses.USAGE, True)
    ran = asked(fleet, *words, "--nodes", "n1")
    assert (ran.status, json.loads(ran.lines[0])["body"]["written"]) == (DID, 3)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("ls", "--nodes", "n*"), "no node's name"),
        (("ls", "--nodes", ""), "0 is none of that"),
        (("ls", "--nodes", "n1", "--label", "a=b"), "give one of both"),
        (("ps", "--label", "zone"), "write KEY=VALUE"),
        (("ps", "--limit", "0"), "--limit"),
        (("ps", "--timeout", "never"), "--timeout"),
        (("ps", "ns_pid=1"), "for one node"),
        (("ps", "cmm=x"), "did you mean comm"),
        (("read", "comm=x", "0", "2M"), "too many"),
        (("run", "info", "--query", "x"), "write NAME=VALUE"),
        (("run", "info", "--body", "{"), "no JSON"),
        (("run", "info", "--body", "@/nowhere"), "/nowhere cannot be read"),
    ],
)
def test_wrong_words_are_told_in_a_line(fleet: Fleet, words: tuple[str, ...], told: str) -> None:
    ran = asked(fleet, *words)
    assert (ran.status, told in ran.error) == (statuses.USAGE, True), ran.error
    assert ran.error.count("\n") == 1


def test_who_may_not_ask_and_a_broker_that_is_not_there(fleet: Fleet) -> None:
    ran = asked(fleet, "ls", client="bob")
    assert (ran.status, "does not let 'bob'" in ran.error) == (statuses.NOT_ALLOWED, True)
    nowhere = run("fleet", "ps", "--nats", "nats://x:secret@127.0.0.1:1", "--client", "alice")
    assert (nowhere.status, nowhere.error.count("\n")) == (statuses.FAILED, 1)
    assert "secret" not in nowhere.error


def test_a_silent_node_is_named_on_a_terminal(fleet: Fleet) -> None:
    fleet.agent.send(signal.SIGSTOP)
    try:
        words = ("fleet", "ps", "--nodes", "n1", "--timeout", "0.5")
        with Screen(*words, "--nats", fleet.broker.url("alice"), "--client", "alice") as shown:
            assert shown.finish() == statuses.FAILED
        assert "n1: nothing of its answer came" in " ".join(shown.lines)
    finally:
        fleet.agent.send(signal.SIGCONT)


def test_user_makes_a_key_and_the_entry_that_the_broker_takes() -> None:
    ran = run("fleet", "user", "n7", "--node", "--label", "zone=a")
    assert ran.status == DID
    key = nkeys.from_seed(bytearray(ran.lines[0].encode())).public_key.decode()
    assert f'nkey: "{key}"' in ran.text
    for each in (*permits.of_node("n7", {"zone": "a"}).publish, "farpeek.v1.*.label-zone-a.>"):
        assert f'"{each}"' in ran.text
    client = run("fleet", "user", "alice", "--client")
    assert '"farpeek.v1.alice.>"' in client.text
    for wrong in (("all", "--node"), ("up", "--client"), ("a*", "--node"), ("n1",)):
        assert run("fleet", "user", *wrong).status == statuses.USAGE


def test_each_word_has_help_and_a_wrong_one_its_cure() -> None:
    for word in COMMANDS:
        assert "Exit status" in command.parser_of(word).format_help()
    ran = run("fleet", "lss")
    assert (ran.status, "did you mean ls?" in ran.error) == (statuses.USAGE, True)
