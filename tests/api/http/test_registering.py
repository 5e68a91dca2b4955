"""Naming a process: by an id from before, by what its caller calls it, or as the caller itself."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from support.callers import register as register_here
from support.namespaces import call_in_private_pid_namespace, can_have_a_private_pid_namespace
from support.sample import Sample
from support.wire import Served, parse

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.wire import Reply

needs_a_pid_namespace = pytest.mark.skipif(
    not can_have_a_private_pid_namespace(),
    reason="a pid namespace of its own needs CAP_SYS_ADMIN",
)


def register(served: Served, **members: object) -> Reply:
    return served.request("POST", "/v1/targets", members)


def from_elsewhere(served: Served, *bodies: object) -> list[Any]:
    return list(
        call_in_private_pid_namespace(
            "support.callers:register", 60, path=str(served.path), bodies=bodies
        )
    )


@pytest.fixture
def process() -> Iterator[Sample]:
    with Sample() as started:
        yield started


# By id.


def test_an_id_names_the_same_process_after_a_restart(folder: Path, process: Sample) -> None:
    with Served(folder) as service:
        target = service.register(process.pid)
        assert register(service, id=target).status == 200
    (folder / "log").unlink()
    with Served(folder) as service:
        again = register(service, id=target, labels={"a": "b"})
        assert (again.status, again.json["id"], again.json["pid"]) == (201, target, process.pid)
        assert again.headers["location"] == f"/v1/targets/{target}"
        assert again.json["labels"] == {"a": "b"}
        assert register(service, id=target).status == 200


def test_an_id_is_gone_with_its_process(folder: Path, process: Sample) -> None:
    with Served(folder) as service:
        target = service.register(process.pid)
        process.exit(3)
        reply = register(service, id=target)
        assert (reply.status, reply.slug) == (410, "target-exited")
        assert reply.json["target"]["id"] == target
    (folder / "log").unlink()
    with Served(folder) as service:
        reply = register(service, id=target)
        assert (reply.status, reply.slug) == (410, "target-exited")


def test_an_id_never_means_the_next_owner_of_the_number(
    served: Served, process: Sample, sample: Sample
) -> None:
    mark = served.register(process.pid).partition("-")[2]
    reply = register(served, id=f"{sample.pid}-{mark}")
    assert (reply.status, reply.slug) == (410, "target-exited")
    reply = register(served, id=f"{2**31 - 1}-{mark}")
    assert (reply.status, reply.slug) == (410, "target-exited")


def test_an_id_of_another_host_or_boot_is_unknown(served: Served, process: Sample) -> None:
    pid, _, mark = served.register(process.pid).partition("-")
    reply = register(served, id=f"{pid}-{int(mark) ^ 1 << 63}")
    assert (reply.status, reply.slug) == (404, "no-such-target")
    assert "boot" in reply.json["detail"]


@pytest.mark.parametrize(
    "text", ["1", "x-y", "0-1", "-1-2", "1-", "1-01", f"1-{2**64}", "1-2 ", "1-2\n", "9" * 128]
)
def test_what_is_no_id_is_invalid(served: Served, text: str) -> None:
    reply = register(served, id=text)
    assert (reply.status, reply.slug, reply.places) == (422, "invalid", ["id"])


# The caller itself.


def test_a_caller_registers_itself(served: Served) -> None:
    known = register(served, self=True).json["id"]  # another test may have held it before
    assert served.request("DELETE", f"/v1/targets/{known}?all=true").status == 204
    reply = register(served, self=True)
    assert (reply.status, reply.json["pid"]) == (201, os.getpid())
    assert register(served, self=True).status == 200
    served.request("DELETE", f"/v1/targets/{reply.json['id']}")


@needs_a_pid_namespace
def test_a_caller_in_another_pid_namespace_registers_itself(served: Served) -> None:
    own, (status, target) = from_elsewhere(served, {"self": True})
    assert (status, target["ns_pids"]) == (201, [target["pid"], own])
    assert target["pid"] != own


def test_a_caller_that_has_ended_registers_nobody(served: Served) -> None:
    with served.connect() as sock:
        # A child connects, leaves us the connection, and ends.
        ours, childs = socket.socketpair()
        program = (
            "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]);"
            "socket.send_fds(socket.socket(fileno=0), [b'x'], [s.fileno()])"
        )
        with ours, childs:
            subprocess.run(
                [sys.executable, "-c", program, str(served.path)], stdin=childs, check=True
            )
            _, (descriptor,), _, _ = socket.recv_fds(ours, 1, 1)
        sock.close()
    with socket.socket(fileno=descriptor) as sock:
        body = b'{"self": true}'
        sock.sendall(
            b"POST /v1/targets HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
            b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
        )
        received = b""
        while piece := sock.recv(65536):
            received += piece
    reply = parse(received)
    assert (reply.status, reply.slug) == (404, "no-such-process")


def test_by_tcp_nobody_is_the_caller(served: Served) -> None:
    token = (served.path.parent / "token").read_text().strip()
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    for body, place in (
        (b'{"self": true}', "self"),
        (b'{"pid": 1, "pid_namespace": "caller"}', "pid_namespace"),
    ):
        reply = served.request_tcp("POST", "/v1/targets", headers, body=body)
        assert (reply.status, reply.slug, reply.places) == (422, "invalid", [place])


# Numbers of another pid namespace.


@needs_a_pid_namespace
def test_a_bare_number_from_another_pid_namespace_is_asked_about(
    served: Served, process: Sample
) -> None:
    _, (status, one), (_, nobody), (_, other) = from_elsewhere(
        served, {"pid": 1}, {"pid": 2**31 - 1}, {"pid": process.pid}
    )
    assert (status, one["type"]) == (422, "urn:farpeek:problem:invalid")
    assert one["readings"]["caller"]["ns_pids"][1:] == [1]
    assert one["readings"]["caller"]["comm"].startswith("python")
    assert nobody["readings"] == {"caller": None, "service": None}
    assert other["readings"]["caller"] is None
    assert other["readings"]["service"]["pid"] == process.pid
    assert "pid_namespace" in one["detail"]


@needs_a_pid_namespace
def test_a_caller_says_whose_number_it_is(served: Served, process: Sample) -> None:
    _, (first, caller), (second, service), (third, nobody) = from_elsewhere(
        served,
        {"pid": 1, "pid_namespace": "caller"},
        {"pid": process.pid, "pid_namespace": "service"},
        {"pid": process.pid, "pid_namespace": "caller"},
    )
    assert (first, caller["ns_pids"]) == (201, [caller["pid"], 1])
    assert (second, service["pid"]) == (201, process.pid)
    assert (third, nobody["type"]) == (404, "urn:farpeek:problem:no-such-process")


@needs_a_pid_namespace
def test_a_match_may_name_the_number_in_the_process_s_own_namespace(served: Served) -> None:
    command = ["unshare", "--pid", "--fork", "--kill-child", "sleep", "1000"]
    with subprocess.Popen(command) as unshare:
        try:
            match = {"comm": "sleep", "ns_pid": 1}
            found: list[Any] = []
            while not found:
                found = served.request("GET", "/v1/processes?comm=sleep&ns_pid=1").json["processes"]
            reply = register(served, match=match)
            assert (reply.status, reply.json["ns_pids"]) == (201, [found[0]["pid"], 1])
        finally:
            unshare.kill()


def test_in_the_service_s_own_pid_namespace_both_mean_the_same(
    served: Served, process: Sample
) -> None:
    for namespace in ("caller", "service"):
        reply = register(served, pid=process.pid, pid_namespace=namespace)
        assert reply.json["pid"] == process.pid
    assert register_here(str(served.path), [{"pid": process.pid}])[1][0] == 200


def test_the_service_s_own_process_is_no_target_either_way(served: Served) -> None:
    for namespace in ("caller", "service"):
        reply = register(served, pid=served.process.pid, pid_namespace=namespace)
        assert (reply.status, reply.slug, reply.places) == (422, "invalid", ["pid"])


@pytest.mark.parametrize(
    "members",
    [
        {"self": True, "pid": 1},
        {"self": False},
        {"id": "1-1", "pid": 1},
        {"pid_namespace": "caller", "self": True},
        {"pid": 1, "pid_namespace": "mine"},
        {"pid": 1, "all": True},
        {"match": {}, "all": True},
        {"match": {"ns_pid": 0}},
    ],
)
def test_a_registration_names_one_process_in_one_way(
    served: Served, members: dict[str, object]
) -> None:
    reply = register(served, **members)
    assert (reply.status, reply.slug) == (422, "invalid")


# All that fit.


def test_all_that_fit_are_registered_at_once(served: Served) -> None:
    before = {each["id"] for each in served.request("GET", "/v1/targets").json["targets"]}
    with Sample() as one, Sample() as two:
        reply = register(served, match={"comm": "python*"}, all=True, labels={"x": "y"})
        assert reply.status == 200
        held = {each["pid"]: each for each in reply.json["targets"]}
        assert {one.pid, two.pid} <= held.keys()
        assert served.process.pid not in held
        assert held[one.pid]["labels"] == {"x": "y"}
        listed = served.request("GET", "/v1/targets?label=x=y").json["targets"]
        assert {each["id"] for each in listed} == {each["id"] for each in held.values()}
        for target_id in {each["id"] for each in listed} - before:  # others use theirs still
            served.request("DELETE", f"/v1/targets/{target_id}")
    none = register(served, match={"comm": "no-such-name"}, all=True)
    assert (none.status, none.json) == (200, {"targets": [], "refused": []})


def test_those_that_cannot_be_held_are_named(folder: Path) -> None:
    with Served(folder, "--max-targets", "1") as service, Sample() as one, Sample() as other:
        reply = register(service, match={"comm": "python*"}, all=True)
        assert (reply.status, len(reply.json["targets"])) == (200, 1)
        held = {each["pid"] for each in reply.json["targets"]}
        # Others of this machine that match may have ended meanwhile, and are refused for that.
        refused = {each["pid"]: each["problem"]["type"] for each in reply.json["refused"]}
        assert {one.pid, other.pid} - held
        for pid in {one.pid, other.pid} - held:
            assert refused[pid] == "urn:farpeek:problem:too-busy"


def test_targets_are_listed_by_a_label(served: Served, process: Sample) -> None:
    target = register(served, pid=process.pid, labels={"tier": "a=b"}).json["id"]
    listed = served.request("GET", "/v1/targets?label=tier=a=b").json["targets"]
    assert [each["id"] for each in listed] == [target]
    assert served.request("GET", "/v1/targets?label=tier=a").json["targets"] == []
    reply = served.request("GET", "/v1/targets?label=tier")
    assert (reply.status, reply.places) == (422, ["label"])
