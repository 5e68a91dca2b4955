"""A standing match holds all that fit, now and later, for one client, until it is deleted."""

from __future__ import annotations

import os
import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from farpeek.identity import Match
from farpeek.reading import standing
from farpeek.targets import matches
from support.targets import Target, build
from support.waiting import until
from support.wire import Events, Served

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.wire import Reply


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """Return a program that no other test runs."""
    return Path(shutil.copy(build("plain"), tmp_path / "plain"))


@pytest.fixture
def shared(folder: Path) -> Iterator[Served]:
    tokens = folder / "given"
    tokens.write_text("one\ntwo\n")
    tokens.chmod(0o600)
    with Served(folder, "--token-file", str(tokens)) as service:
        yield service


def ask(served: Served, method: str, path: str, body: object = None, token: str = "") -> Reply:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return served.request(method, path, body, headers)


def begin(
    served: Served, token: str = "", labels: object = None, **members: object
) -> dict[str, Any]:
    body = {"match": members.pop("match"), "labels": labels, **members}
    reply = ask(served, "POST", "/v1/matches", body, token)
    assert reply.status == 201, reply
    assert reply.headers["location"] == f"/v1/matches/{reply.json['id']}"
    return dict(reply.json)


def held(served: Served, match: str, token: str = "") -> set[int]:
    """Return the numbers of the processes that a match holds."""
    reply = ask(served, "GET", f"/v1/matches/{match}", None, token)
    listed = ask(served, "GET", "/v1/targets", None, token).json["targets"]
    pids = {each["id"]: each["pid"] for each in listed}
    return {pids[each] for each in reply.json["targets"]}


def test_what_fits_is_held_now_and_later(served: Served, program: Path) -> None:
    with Target("plain", program=program) as first:
        match = begin(served, match={"exe": str(program)}, labels={"a": "b"})
        assert (match["held"], match["refused"], match["limit"]) == (1, 0, 1000)
        assert match["match"] == {"exe": str(program)}
        assert held(served, match["id"]) == {first.pid}
        with Target("plain", program=program) as second:
            until(lambda: held(served, match["id"]) == {first.pid, second.pid}, "it is held")
            (shown,) = (
                each
                for each in served.request("GET", "/v1/targets?label=a=b").json["targets"]
                if each["pid"] == second.pid
            )
        until(lambda: held(served, match["id"]) == {first.pid}, "its exit is noticed")
        assert served.request("GET", f"/v1/targets/{shown['id']}").json["state"] != "running"
        assert served.request("DELETE", f"/v1/matches/{match['id']}").status == 204
        assert served.request("GET", "/v1/targets?label=a=b").json["targets"] == []
        assert served.request("GET", f"/v1/targets/{shown['id']}").status == 404


def test_what_becomes_fitting_is_held(served: Served, program: Path) -> None:
    with Target("plain", "--name", "before", program=program) as process:
        match = begin(served, match={"exe": str(program), "comm": "second"})
        assert match["held"] == 0
        process.send("exec 2")  # under the name of `second`
        process.await_ready()
        until(lambda: held(served, match["id"]) == {process.pid}, "it is found again")
        served.request("DELETE", f"/v1/matches/{match['id']}")


def test_no_more_than_the_limit_are_held_and_others_take_their_places(
    served: Served, program: Path
) -> None:
    with ExitStack() as stack:
        started = [stack.enter_context(Target("plain", program=program)) for _ in range(3)]
        match = begin(served, match={"exe": str(program)}, limit=2)
        assert (match["held"], match["refused"]) == (2, 1)
        (left,) = {each.pid for each in started} - held(served, match["id"])
        for each in started:
            if each.pid != left:
                each.kill()
        until(lambda: held(served, match["id"]) == {left}, "there is room for it")
        served.request("DELETE", f"/v1/matches/{match['id']}")


def test_events_name_the_match_to_its_client_alone(shared: Served, program: Path) -> None:
    with Events(shared.path) as events:
        match = begin(shared, match={"exe": str(program)})
        with Target("plain", program=program) as process:
            told = events.next()
            process.kill()
            process.reap()
        gone = [events.next() for _ in range(2)]
        begin(shared, "one", match={"exe": str(program)})
        with Target("plain", program=program):
            both = events.next()
        assert ask(shared, "DELETE", f"/v1/matches/{match['id']}").status == 204
    assert [kind for _, kind, _ in (told, *gone)] == ["registered", "exited", "reaped"]
    assert {data["match"] for _, _, data in (told, *gone, both)} == {match["id"]}


def test_taking_what_is_a_target_already_is_told_to_its_client(
    shared: Served, program: Path
) -> None:
    with Target("plain", program=program) as process, Events(shared.path) as events:
        target = ask(shared, "POST", "/v1/targets", {"pid": process.pid}, "one").json["id"]
        match = begin(shared, match={"exe": str(program)})
        begin(shared, "two", match={"exe": str(program)})
        ask(shared, "DELETE", f"/v1/targets/{target}?all=true")
        told = [events.next() for _ in range(3)]
    assert [kind for _, kind, _ in told] == ["registered", "registered", "released"]
    assert [data.get("match") for _, _, data in told] == [None, match["id"], match["id"]]


def test_a_match_holds_what_others_let_go(shared: Served, program: Path) -> None:
    with Target("plain", program=program) as process:
        match = begin(shared, "one", {"a": "match", "c": "d"}, match={"exe": str(program)})
        body = {"pid": process.pid, "labels": {"a": "own"}}
        target = ask(shared, "POST", "/v1/targets", body, "one").json
        assert target["labels"] == {"a": "own", "c": "d"}
        path = f"/v1/targets/{target['id']}"
        assert ask(shared, "DELETE", path, None, "one").status == 204
        assert ask(shared, "DELETE", path, None, "one").status == 404
        assert ask(shared, "GET", path, None, "one").json["labels"] == {"a": "match", "c": "d"}
        assert ask(shared, "GET", path, None, "two").json["labels"] == {}
        assert ask(shared, "DELETE", f"/v1/matches/{match['id']}", None, "one").status == 204
        assert ask(shared, "GET", path, None, "one").status == 404


def test_a_match_is_its_client_s_own(shared: Served) -> None:
    match = begin(shared, "one", match={"comm": "no-such-name"})
    path = f"/v1/matches/{match['id']}"
    for method in ("GET", "DELETE"):
        reply = ask(shared, method, path, None, "two")
        assert (reply.status, reply.slug) == (404, "no-such-match")
    assert ask(shared, "GET", "/v1/matches", None, "two").json == {"matches": []}
    assert ask(shared, "GET", "/v1/matches", None, "one").json == {"matches": [match]}
    assert ask(shared, "DELETE", path, None, "one").status == 204
    assert ask(shared, "GET", path, None, "one").slug == "no-such-match"


def test_a_client_may_have_so_many(shared: Served) -> None:
    most = shared.request("GET", "/v1/info").json["limits"]["client_matches"]
    assert most == standing.MOST_OF_A_CLIENT
    for _ in range(most):
        begin(shared, "one", match={"comm": "no-such-name"})
    reply = ask(shared, "POST", "/v1/matches", {"match": {"comm": "x"}}, "one")
    assert (reply.status, reply.slug) == (429, "too-busy")
    begin(shared, "two", match={"comm": "no-such-name"})


def test_a_match_that_everything_fits_holds_as_many_as_may_be(folder: Path) -> None:
    with Served(folder, "--max-targets", "3") as service:
        match = begin(service, match={"comm": "*"}, limit=16_384)
        assert match["held"] == 3
        assert match["refused"] >= 1
        assert service.process.pid not in held(service, match["id"])
        assert service.request("DELETE", f"/v1/matches/{match['id']}").status == 204
        assert service.request("GET", "/v1/targets").json == {"targets": []}


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({}, "match"),
        ({"match": {}}, None),
        ({"match": {"comm": "x"}, "limit": 0}, "limit"),
        ({"match": {"comm": "x"}, "limit": 16_385}, "limit"),
        ({"match": {"comm": "x"}, "limit": True}, "limit"),
        ({"match": {"comm": "x"}, "labels": {"a": "b" * 257}}, "labels.a"),
        ({"match": {"comm": "x"}, "all": True}, "all"),
    ],
)
def test_a_match_that_makes_no_sense_is_refused(
    served: Served, body: object, place: str | None
) -> None:
    reply = served.request("POST", "/v1/matches", body)
    assert (reply.status, reply.slug) == (422, "invalid")
    assert place is None or place in reply.places


def test_a_scan_looks_at_few_of_those_that_stay_as_they_are() -> None:
    # The loop and its clock are left out: what a scan looks at is what it costs.
    looked: list[int] = []
    scanner = matches.Scanner()
    wanted = matches.Wanted([("a", Match(comm="no-such-name"))], frozenset(), frozenset())
    traits = matches.processes.traits

    def counted(pid: int, *, with_cgroup: bool) -> tuple[bytes | int, ...] | None:
        looked.append(pid)
        return traits(pid, with_cgroup=with_cgroup)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(matches.processes, "traits", counted)
        for _ in range(8 * matches.RAREST):
            scanner.scan(wanted, float("inf"))
    ours = looked.count(os.getpid())
    assert 5 <= ours <= 8 + 8
