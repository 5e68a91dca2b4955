"""A client that may read programs called ruby*, and targets that become something else."""

from __future__ import annotations

import base64
import contextlib
import os
import time
from typing import TYPE_CHECKING, Any

import pytest

from farpeek_api.policy import tokens
from support.becoming import SECRET, become_vault
from support.folders import open_folder
from support.policies import EVERYTHING, As, Policed, entry
from support.targets import Target, start
from support.waiting import until
from support.wire import UnixConnection

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RUBY, COMM, USER, ADMIN = (tokens.make() for _ in range(4))
VERBS = ["inspect", "register", "read", "events"]
NOWAIT = 'modes = ["nowait"]\n'
POLICY = (
    entry("by-exe", RUBY, VERBS, NOWAIT + 'targets = [{ exe = "*/ruby*" }]')
    + entry("by-comm", COMM, VERBS, NOWAIT + 'targets = [{ comm = "ruby*" }]')
    + entry("by-uid", USER, VERBS, NOWAIT + "targets = [{ uid = 0 }]")
    + entry("admin", ADMIN, rest=f"targets = {EVERYTHING}")
)
SECRET_BYTES = SECRET.to_bytes(8, "little")
A_SECOND = 1.0
SLACK_S = 3.0
"""On a busy machine; what is promised is a second."""


@pytest.fixture(scope="module")
def service() -> Iterator[Policed]:
    with open_folder() as made, Policed(made, POLICY) as made_service:
        yield made_service


def change(process: Target, programs: Path, how: str) -> str:
    """Have it become what the client of the answer's token may not see."""
    if how == "exec":
        become_vault(process, programs)
        return RUBY
    if how == "setuid":
        assert process.command("setuid 4711") == "ok"
        return USER
    assert process.command("rename vault") == "ok"
    return COMM


TOKEN_OF = {"exec": RUBY, "setuid": USER, "rename": COMM}


@pytest.mark.parametrize("how", TOKEN_OF)
def test_what_a_target_has_become_counts_for_every_call(
    service: Policed, programs: Path, ruby: Target, how: str
) -> None:
    client = As(service, TOKEN_OF[how])
    target = client.register(ruby.pid).json["id"]
    nowait = {"mode": "nowait"}
    assert client.read(target, ruby["marker"], **nowait).status == 200
    change(ruby, programs, how)
    if how == "rename":  # it is the target's own word, and looked at each second
        until(lambda: client.read(target, ruby["marker"], **nowait).status == 404, "it is hidden")
    about = f"/v1/targets/{target}"
    place = {"addresses": [hex(ruby["marker"])], "lengths": [8]}
    last = ruby["marker"] + 7
    bulk = {"Range": f"bytes={ruby['marker']}-{last}"}
    answers = [
        client.read(target, ruby["marker"], **nowait),
        client.request("GET", about),
        client.request("GET", f"{about}/maps"),
        client.request("GET", f"{about}/auxv"),
        client.request("GET", f"{about}/memory?mode=nowait", headers=bulk),
        client.request("HEAD", f"{about}/memory?mode=nowait", headers=bulk),
        client.request(
            "POST", f"{about}/memory", {"ranges": [[hex(ruby["marker"]), 8]], "mode": "nowait"}
        ),
        client.request("DELETE", about),
        client.register(ruby.pid),
    ]
    assert [each.status for each in answers] == [404] * len(answers)
    many = client.request(
        "POST", "/v1/readv", {"reads": [{"target": target, **place}], "mode": "nowait"}
    )
    assert many.json["results"][0]["problem"]["status"] == 404
    listed = client.request("GET", "/v1/targets").body + client.request("GET", "/v1/processes").body
    assert target.encode() not in listed
    assert b"vault" not in listed if how != "setuid" else b"4711" not in listed
    for each in (*answers, many):
        assert SECRET_BYTES.hex().encode() not in each.body


def test_of_many_targets_each_is_judged_for_itself(service: Policed, ruby: Target) -> None:
    client = As(service, RUBY)
    with start("plain", "--marker", 7) as hidden:
        seen = client.register(ruby.pid).json["id"]
        other = As(service, ADMIN).register(hidden.pid).json["id"]
        places = {seen: ruby["marker"], other: hidden["marker"], "nobody": 0}
        wanted = [seen, other, seen, "nobody", other, seen]
        reads = [
            {"target": each, "addresses": [hex(places[each])], "lengths": 8} for each in wanted
        ]
        for _ in range(2):  # by now it is known to answer, and they are read together
            reply = client.request("POST", "/v1/readv", {"reads": reads, "mode": "nowait"})
            shown = [each.get("problem", {}).get("status", 200) for each in reply.json["results"]]
            assert shown == [200, 404, 200, 404, 404, 200]
            assert base64.b64encode((7).to_bytes(8, "little")) not in reply.body
        reply = client.request("POST", "/v1/readv", {"reads": reads, "mode": "wait"})
        refused = [
            each["problem"]["status"]
            for each in reply.json.get("results", [reply.json])
            if "problem" in each
        ]
        assert not any("data" in each for each in reply.json.get("results", []))
        assert set(refused) <= {403, 404}


def test_no_byte_of_the_next_program_comes_out_of_a_read_that_meets_it(
    service: Policed, programs: Path
) -> None:
    client = As(service, RUBY)
    for _ in range(5):
        with Target("changing", program=programs / "ruby") as process:
            target = client.register(process.pid).json["id"]
            process.send(f"become {programs / 'vault'} {SECRET:#x}")
            statuses: list[int] = []
            give_up = time.monotonic() + SLACK_S
            while 404 not in statuses and time.monotonic() < give_up:
                reply = client.read(target, process["marker"], encoding="hex", mode="nowait")
                statuses.append(reply.status)
                assert SECRET_BYTES.hex().encode() not in reply.body
            assert statuses[-1] == 404


@pytest.mark.parametrize("how", TOKEN_OF)
@pytest.mark.parametrize("hz", [100, 0.01])
def test_a_subscription_ends_within_a_second_without_a_forbidden_byte(
    service: Policed, programs: Path, ruby: Target, how: str, hz: float
) -> None:
    client = As(service, TOKEN_OF[how])
    target = client.register(ruby.pid).json["id"]
    where = {"addresses": [hex(ruby["marker"])], "lengths": [8], "mode": "nowait"}
    with client.stream() as ws:
        shown, _ = ws.ask({"id": 1, "subscribe": {"target": target, "hz": hz, **where}})
        assert shown["subscribed"]
        assert ws.next()[1] == (1).to_bytes(8, "little")
        change(ruby, programs, how)
        began = time.monotonic()
        while "ended" not in shown:
            shown, data = ws.next()
            assert data != SECRET_BYTES
        assert shown["ended"] == "forbidden"
        assert time.monotonic() - began < A_SECOND + SLACK_S
        answer, _ = ws.ask({"id": 2, "target": target, **where})
        assert answer["problem"]["status"] == 404


def test_a_long_read_is_cut_off(service: Policed, programs: Path, ruby: Target) -> None:
    client = As(service, RUBY)
    target = client.register(ruby.pid).json["id"]
    connection = UnixConnection(service.path)
    headers = {**client.headers, "Range": f"bytes=0-{1 << 46}"}
    connection.request("GET", f"/v1/targets/{target}/memory?gaps=zero&mode=nowait", headers=headers)
    response = connection.getresponse()
    assert response.status == 206
    assert response.read(1 << 20)
    become_vault(ruby, programs)
    with contextlib.suppress(ConnectionError):
        while response.read(1 << 22):
            pass
    assert response.length, "gigabytes were promised, and not sent"
    response.close()
    connection.close()


def test_no_event_tells_of_what_a_target_has_become(
    service: Policed, programs: Path, ruby: Target
) -> None:
    client, admin = As(service, RUBY), As(service, ADMIN)
    with client.events() as seen, admin.events() as all_events:
        target = client.register(ruby.pid).json["id"]
        become_vault(ruby, programs)
        with Target("changing", program=programs / "vault") as vault:
            hidden = admin.register(vault.pid).json["id"]
        kinds: list[tuple[str, str]] = []
        while ("released", target) not in kinds:
            kinds.append((all_events.next()[1], ""))
            if kinds[-1][0] == "exec":
                admin.request("DELETE", f"/v1/targets/{target}?all=true")
                break
        with Target("changing", program=programs / "ruby") as other:
            last = client.register(other.pid).json["id"]
            told: list[tuple[str, Any]] = []
            while not told or told[-1] != ("registered", last):
                _, kind, data = seen.next()
                told.append((kind, data["target"]["id"]))
                assert "vault" not in str(data)
                assert data["target"]["id"] != hidden
        assert told == [("registered", target), ("registered", last)]


@pytest.mark.parametrize("how", ["setuid", "rename"])
def test_nobody_is_told_how_it_ends_whom_it_has_become(
    service: Policed, programs: Path, ruby: Target, how: str
) -> None:
    client, admin = As(service, TOKEN_OF[how]), As(service, ADMIN)
    with client.events() as seen:
        target = client.register(ruby.pid).json["id"]
        assert seen.next()[1] == "registered"
        change(ruby, programs, how)
        member, value = ("uid", 4711) if how == "setuid" else ("comm", "vault")

        def is_known() -> bool:
            listed = admin.request("GET", "/v1/targets").json["targets"]
            return any(each["id"] == target and each[member] == value for each in listed)

        until(is_known, "it is noticed, though nobody asks about it")
        ruby.kill()
        ruby.reap()
        admin.request("GET", f"/v1/targets/{target}?wait=exit")
        with Target("changing", program=programs / "ruby") as other:
            last = client.register(other.pid).json["id"]
            assert seen.next()[2]["target"]["id"] == last


def test_a_standing_match_holds_and_shows_what_its_client_sees(
    service: Policed, programs: Path, ruby: Target
) -> None:
    client = As(service, RUBY)
    body = {"match": {"exe": f"{programs}/*"}}
    with Target("changing", program=programs / "vault") as vault:
        match = client.request("POST", "/v1/matches", body).json["id"]
        try:
            held = client.request("GET", f"/v1/matches/{match}").json["targets"]
            assert [each.split("-")[0] for each in held] == [str(ruby.pid)]
            where = {"addresses": [hex(ruby["marker"])], "lengths": [8], "mode": "nowait"}
            with client.stream() as ws:
                ws.ask({"id": 1, "subscribe": {"match": match, "hz": 50, **where}})
                become_vault(ruby, programs)
                shown: dict[str, Any] = {}
                while "left" not in shown:
                    shown, data = ws.next()
                    assert data != SECRET_BYTES
                assert (shown["target"], shown["left"]) == (held[0], "forbidden")
            assert client.request("GET", f"/v1/matches/{match}").json["targets"] == []
            listed = client.request("GET", "/v1/targets").body
            assert str(vault.pid).encode() not in listed
        finally:
            client.request("DELETE", f"/v1/matches/{match}")


def test_a_number_that_is_used_again_is_not_seen(service: Policed, ruby: Target) -> None:
    client, admin = As(service, RUBY), As(service, ADMIN)
    target = client.register(ruby.pid).json["id"]
    assert client.request("DELETE", f"/v1/targets/{target}").status == 204
    assert admin.request("POST", "/v1/targets", {"id": target}).status in (200, 201)
    assert client.read(target, ruby["marker"], mode="nowait").status == 200
    assert admin.request("DELETE", f"/v1/targets/{target}?all=true").status == 204
    assert client.read(target, ruby["marker"], mode="nowait").status == 404
    assert os.path.exists(f"/proc/{ruby.pid}")  # noqa: PTH110 - the shortest way to say it
