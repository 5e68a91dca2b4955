"""A service with a policy: who gets in, how much, for whom, and what a new file changes."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from farpeek_api.policy import tokens
from support.policies import EVERYTHING, As, Policed, entry
from support.targets import start
from support.waiting import until
from support.wire import Served

if TYPE_CHECKING:
    from collections.abc import Iterator

ONE, TWO = tokens.make(), tokens.make()
ALL = f"targets = {EVERYTHING}\n"


@contextlib.contextmanager
def opted_out(variable: str) -> Iterator[int]:
    """Run a process that wants to be left alone."""
    name, _, value = variable.partition("=")
    with subprocess.Popen(["/bin/sleep", "60"], env={name: value}) as process:
        try:
            yield process.pid
        finally:
            process.kill()


def test_root_gets_in_if_it_is_named_and_a_wrong_token_is_judged_all_the_same(
    folder: Path,
) -> None:
    text = f"[clients.root]\nunix_uid = {os.getuid()}\nverbs = ['inspect']\n"
    with Policed(folder, text) as service:
        assert service.request("GET", "/v1/info").status == 200
        assert As(service, ONE).request("GET", "/v1/info").status == 401
        reply = As(service, ONE[:-1]).request("GET", "/v1/info")
        assert "checksum" in reply.json["detail"]
        assert service.request_tcp("GET", "/v1/info").status == 401
        assert not service.path.with_name("token").exists()  # none is made


def test_a_new_file_counts_on_sighup_and_a_bad_one_never(folder: Path) -> None:
    one = entry("one", ONE, rest=ALL)
    with Policed(folder, one) as service, start("plain") as process:
        client = As(service, ONE)
        target = client.register(process.pid).json["id"]
        service.reload(one.replace("verbs", "verb"))
        until(lambda: "the policy stays as it was before" in service.log, "it is refused")
        assert ":3:1: clients.one.verb: there is no such member" in service.log
        assert client.read(target, process["marker"]).status == 200
        with client.stream() as ws, client.events() as events:
            where = {"addresses": [hex(process["marker"])], "lengths": [8]}
            ws.ask({"id": 1, "subscribe": {"target": target, "hz": 0.01, **where}})
            service.reload(entry("two", TWO, rest=ALL))
            assert client.read(target, process["marker"]).status == 401
            assert As(service, TWO).read(target, process["marker"]).status == 200
            assert ws.close_reason() == (1008, "the policy lets this client in no more")
            with contextlib.suppress(OSError, EOFError):
                while events.next_block():
                    pass
        assert ONE not in service.log
        assert tokens.digest(ONE) not in service.log


def test_a_file_that_is_no_policy_keeps_the_service_from_starting(folder: Path) -> None:
    path = folder / "policy.toml"
    path.write_text("[clients.a]\nverb = []\n")
    path.chmod(0o600)
    listen = f"unix:{folder}/run/farpeek.sock"
    command = [sys.executable, "-m", "farpeek_api", "serve", "--listen", listen]
    command += ["--policy", str(path)]
    found = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert found.returncode == 2
    assert f"farpeek serve: {path}:2:1: clients.a.verb: there is no such member" in found.stderr


def test_what_is_hidden_is_registered_like_what_is_not_there(folder: Path) -> None:
    with (
        Policed(folder, entry("one", ONE, rest="targets = [{ uid = 4242 }]")) as service,
        start("plain") as hidden,
        start("threads") as threads,
    ):
        client = As(service, ONE)
        thread = max(int(each.name) for each in Path(f"/proc/{threads.pid}/task").iterdir())
        replies = [
            client.request("POST", "/v1/targets", body)
            for body in (
                {"pid": 2**22 + 1},
                {"pid": hidden.pid},
                {"pid": thread},
                {"pid": 2},  # the kernel's own
                {"pid": service.process.pid},
                {"match": {"comm": "plain"}},
                {"match": {"comm": "nothing-is-called-so"}},
                {"self": True},
            )
        ]
        assert {each.status for each in replies} == {404}
        assert {each.slug for each in replies} == {"no-such-process"}
        details = [each.json["detail"] for each in replies[:5]]
        assert len({each.rpartition(" ")[0] for each in details}) == 1
        assert replies[5].json["detail"] == replies[6].json["detail"]
        every = client.request("POST", "/v1/targets", {"match": {"comm": "*"}, "all": True})
        assert every.json == {"targets": [], "refused": []}


def test_the_doctor_tells_nobody_of_a_hidden_process(folder: Path) -> None:
    with (
        Policed(folder, entry("one", ONE, rest="targets = [{ uid = 4242 }]")) as service,
        start("plain") as hidden,
        start("plain", "--uid", 4242) as seen,
    ):
        client = As(service, ONE)

        def about(pid: int) -> list[object]:
            findings = client.request("GET", f"/v1/doctor?pid={pid}").json["findings"]
            return [{**each, "gate": ""} for each in findings if str(pid) in each["gate"]]

        assert about(hidden.pid) == about(2**22 + 1) != about(seen.pid)


def test_candidates_are_those_that_the_client_sees(folder: Path) -> None:
    with (
        Policed(folder, entry("one", ONE, rest="targets = [{ uid = 4242 }]")) as service,
        start("plain", "--uid", 4242) as seen,
        start("plain", "--uid", 4242),
        start("plain"),
    ):
        client = As(service, ONE)
        reply = client.request("POST", "/v1/targets", {"match": {"comm": "plain"}})
        assert (reply.status, reply.json["count"]) == (409, 2)
        assert {each["uid"] for each in reply.json["candidates"]} == {4242}
        listed = client.request("GET", "/v1/processes").json["processes"]
        assert {each["uid"] for each in listed} == {4242}
        assert client.register(seen.pid).status == 201
        assert client.request("GET", "/v1/info").json["targets"]["running"] == 1


def test_labels_count_if_an_admin_has_given_them(folder: Path) -> None:
    text = entry("one", ONE, ["register", "read"], 'targets = [{ labels = { job = "n*" } }]')
    with (
        Policed(folder, text + entry("admin", TWO, rest=ALL)) as service,
        start("plain") as process,
    ):
        one, admin = As(service, ONE), As(service, TWO)
        body = {"pid": process.pid, "labels": {"job": "nightly"}}
        assert one.request("POST", "/v1/targets", body).status == 404
        target = admin.request("POST", "/v1/targets", body).json["id"]
        assert one.read(target, process["marker"]).status == 200
        admin.request("POST", "/v1/targets", {**body, "labels": {"job": "daily"}})
        assert one.read(target, process["marker"]).status == 404


def test_modes_are_about_reads_and_not_about_maps(folder: Path) -> None:
    text = entry("one", ONE, rest=ALL + 'modes = ["nowait"]')
    with Policed(folder, text) as service, start("plain") as process:
        client = As(service, ONE)
        target = client.register(process.pid).json["id"]
        reply = client.read(target, process["marker"])
        assert (reply.status, reply.json["rule"][:19]) == (403, "clients.one.modes, ")
        assert client.read(target, process["marker"], mode="nowait").status == 200
        assert client.request("GET", f"/v1/targets/{target}/maps").status == 200
        headers = {"Range": f"bytes={process['marker']}-{process['marker']}"}
        assert client.request("GET", f"/v1/targets/{target}/memory", headers=headers).status == 403


@pytest.mark.parametrize("variable", ["FARPEEK_DENY=1", "PYTHON_DISABLE_REMOTE_DEBUG=1"])
def test_a_process_that_has_opted_out_is_not_read(folder: Path, variable: str) -> None:
    override = entry("two", TWO, rest=ALL + "override_opt_out = true")
    with opted_out(variable) as pid, Policed(folder, entry("one", ONE, rest=ALL) + override) as it:
        one, two = As(it, ONE), As(it, TWO)
        target = one.register(pid).json["id"]
        place = two.request("GET", f"/v1/targets/{target}/maps").json["mappings"][0]["start"]
        for path in ("maps", "auxv"):
            assert one.request("GET", f"/v1/targets/{target}/{path}").json["gate"] == "opt-out"
        reply = one.read(target, int(place, 16))
        assert (reply.status, reply.json["gate"]) == (403, "opt-out")
        assert two.read(target, int(place, 16)).status == 200
        assert variable not in it.log


def test_a_process_that_has_opted_out_is_not_read_without_a_policy_either(folder: Path) -> None:
    with opted_out("FARPEEK_DENY=1") as pid, Served(folder) as service:
        target = service.register(pid)
        reply = service.read(target, 0x1000, 8)
        assert (reply.status, reply.slug, reply.json["gate"]) == (403, "forbidden", "opt-out")


def test_who_asks_too_often_waits(folder: Path) -> None:
    text = entry("one", ONE, rest=ALL + "rate = { requests_per_s = 0.5, burst = 3 }")
    with Policed(folder, text + entry("two", TWO, rest=ALL)) as service:
        replies = [As(service, ONE).request("GET", "/v1/info") for _ in range(5)]
        assert [each.status for each in replies] == [200, 200, 200, 429, 429]
        assert 1 <= int(replies[-1].headers["retry-after"]) <= 2
        assert replies[-1].slug == "too-busy"
        assert As(service, TWO).request("GET", "/v1/info").status == 200


def test_who_has_had_its_bytes_or_ticks_waits(folder: Path) -> None:
    rate = 'rate = { bytes_per_s = "1KiB", ticks_per_s = 10 }'
    with Policed(folder, entry("one", ONE, rest=ALL + rate)) as service, start("plain") as process:
        client = As(service, ONE)
        target = client.register(process.pid).json["id"]
        with client.stream() as ws:
            where = {"addresses": [hex(process["marker"])], "lengths": [8]}
            shown, _ = ws.ask({"id": 1, "subscribe": {"target": target, "hz": 11, **where}})
            assert "tick 10 times a second" in shown["problem"]["detail"]
        assert client.read(target, process["marker"], 4096).status == 200
        reply = client.read(target, process["marker"])
        assert (reply.status, reply.slug) == (429, "too-busy")
        assert int(reply.headers["retry-after"]) >= 2


def test_a_client_has_so_many_connections(folder: Path) -> None:
    text = entry("one", ONE, rest=ALL + "rate = { connections = 2 }")
    with Policed(folder, text) as service, contextlib.ExitStack() as held:
        client = As(service, ONE)
        for _ in range(2):
            held.enter_context(client.stream())
        assert client.request("GET", "/v1/info").status == 429


def test_a_gateway_asks_for_others_and_nobody_else_does(folder: Path) -> None:
    alice = "[clients.alice]\nverbs = ['inspect']\ntargets = [{ uid = 4242 }]\n"
    text = entry("gateway", ONE, rest=ALL + 'impersonate = ["alice"]') + alice
    with Policed(folder, text + entry("two", TWO, rest=ALL)) as service, start("plain") as process:
        as_alice = As(service, ONE, Farpeek_On_Behalf_Of="alice")
        assert as_alice.register(process.pid).json["verb"] == "register"
        target = As(service, ONE).register(process.pid).json["id"]
        assert as_alice.request("GET", f"/v1/targets/{target}").status == 404
        for client in (
            As(service, TWO, Farpeek_On_Behalf_Of="alice"),
            As(service, ONE, Farpeek_On_Behalf_Of="two"),
            As(service, ONE, Farpeek_On_Behalf_Of="nobody"),
        ):
            assert client.request("GET", "/v1/info").status == 403


def test_who_may_ask_for_others_no_more_is_cut_off(folder: Path) -> None:
    alice = f"[clients.alice]\nverbs = ['events', 'inspect']\n{ALL}"
    may = entry("gateway", ONE, rest=ALL + 'impersonate = ["alice"]') + alice
    may_not = entry("gateway", ONE, rest=ALL) + alice + "unix_uid = 4242\n"
    with Policed(folder, may) as service:
        as_alice = As(service, ONE, Farpeek_On_Behalf_Of="alice")
        with as_alice.stream() as ws, as_alice.events() as events:
            service.reload(may_not)
            with pytest.raises((EOFError, OSError)):
                ws.next()
            with contextlib.suppress(HTTPException, OSError):
                while events.next_block():
                    pass
        assert as_alice.request("GET", "/v1/info").json["verb"] == "impersonate"


def test_without_a_policy_nobody_asks_for_others(folder: Path) -> None:
    with Served(folder) as service:
        headers = {"Farpeek-On-Behalf-Of": "alice"}
        assert service.request("GET", "/v1/info", headers=headers).slug == "forbidden"


def test_a_client_whose_time_is_over_is_let_go(folder: Path) -> None:
    with Policed(folder, entry("one", ONE, rest=ALL)) as service:
        client = As(service, ONE)
        with client.stream() as ws:
            end = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 2))
            service.reload(entry("one", ONE, rest=ALL + f"expires = {end}"))
            assert ws.close_reason()[0] == 1008
        assert client.request("GET", "/v1/info").status == 401
