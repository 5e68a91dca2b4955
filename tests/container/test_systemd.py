"""The units of deploy/systemd, started by a real systemd: PID 1 of a container."""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trustme

from farpeek_api.bus import permits
from farpeek_api.policy import tokens
from support import podman
from support.audits import done_in
from support.broker import make_key
from support.folders import open_folder
from support.podman import Container
from support.policies import EVERYTHING, entry
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

UNITS = Path(__file__).resolve().parents[2] / "deploy" / "systemd"
SOCKET = "/run/farpeek/farpeek.sock"
GAMES = 5
"""A user that every Debian has."""

_ASK = """
import http.client, json, os, socket, sys
user, groups, token, method, path, body = json.loads(sys.argv[1])
os.setgroups(groups)
os.setresgid(user, user, user)
os.setresuid(user, user, user)
sock = socket.socket(socket.AF_UNIX)
sock.settimeout(60)
try:
    sock.connect("/run/farpeek/farpeek.sock")
except PermissionError:
    sys.exit(print(json.dumps([0, "not let in by the socket's mode"])))
connection = http.client.HTTPConnection("localhost")
connection.sock = sock
headers = {"Content-Type": "application/json"}
if token:
    headers["Authorization"] = "Bearer " + token
connection.request(method, path, body and json.dumps(body), headers)
response = connection.getresponse()
print(json.dumps([response.status, json.loads(response.read())]))
"""

_ASK_TCP = """
import socket, sys
with socket.create_connection(("127.0.0.1", 7335), 20) as sock:
    lines = ["GET /v1/targets HTTP/1.1", "Host: localhost", f"Authorization: Bearer {sys.argv[1]}"]
    sock.sendall("\\r\\n".join([*lines, "", ""]).encode())
    print(sock.recv(1000).decode())
"""

_APP = """
import ctypes, os, time
text = ctypes.create_string_buffer(b"hello from a unit")
open("/tmp/address", "w").write(hex(ctypes.addressof(text)))
time.sleep(1e6)
"""


class Host(Container):
    """A container whose first process is systemd, with farpeek at /opt/farpeek and its units."""

    def __init__(self, *dropins: Path, image: str = podman.PLAIN, more: Sequence[str] = ()) -> None:
        mounts = [
            f"--volume={UNITS}/farpeek.service:/etc/systemd/system/farpeek.service:ro",
            f"--volume={UNITS}/farpeek.socket:/etc/systemd/system/farpeek.socket:ro",
            f"--volume={UNITS}/farpeek.sysusers:/usr/lib/sysusers.d/farpeek.conf:ro",
            f"--mount=type=image,source={image},destination=/image",
            *(
                f"--volume={path}:/etc/systemd/system/farpeek.service.d/{path.name}:ro"
                for path in dropins
            ),
        ]
        flags = ("--privileged", "--systemd=always", *mounts, *more)
        # systemd shares its mounts with its services by itself, but for in a container; without it
        # LoadCredential= leaves nothing.
        boot = "mount --make-rshared / && exec /lib/systemd/systemd"
        super().__init__(podman.BASE, "sh", "-c", boot, flags=flags)
        try:
            until(self._has_booted, "systemd has booted")
            self.execute("ln", "-s", "/image/opt/farpeek", "/opt/farpeek")
            self.execute("systemd-sysusers")
            self.execute("systemctl", "start", "farpeek.socket")
        except BaseException:
            self.end()
            raise

    def _has_booted(self) -> bool:
        return self.execute("systemctl", "is-system-running", status=None).strip() == "running"

    def show(self, name: str, unit: str = "farpeek.service") -> str:
        """Return a property of a unit."""
        return self.execute("systemctl", "show", "--value", f"--property={name}", unit).strip()

    def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        user: int = 0,
        groups: tuple[int, ...] = (),
        token: str = "",
    ) -> tuple[int, dict[str, object]]:
        """Put a request in the container, as this user; status and answer."""
        question = json.dumps([user, groups, token, method, path, body])
        status, answer = json.loads(self.execute("python3", "-c", _ASK, question))
        return status, answer

    @contextmanager
    def app(self) -> Iterator[tuple[str, str]]:
        """Run a process of another user that holds a string: its target, and the address."""
        self.execute("rm", "--force", "/tmp/address")  # noqa: S108 - in the container
        run = ("systemd-run", "--quiet", "--collect", "--uid=games", "--unit=app")
        self.execute(*run, "python3", "-c", _APP)
        until(lambda: self.execute("cat", "/tmp/address", status=None).startswith("0x"), "it runs")  # noqa: S108
        address = self.execute("cat", "/tmp/address").strip()  # noqa: S108
        status, target = self.ask("POST", "/v1/targets", {"match": {"uid": GAMES}})
        assert status == 201, target
        try:
            yield str(target["id"]), address
        finally:
            self.execute("systemctl", "stop", "app")

    def read_from_an_app(self) -> tuple[int, dict[str, object]]:
        """Read a string that a process of another user holds."""
        with self.app() as (target, address):
            body = {"addresses": [address], "lengths": 17, "encoding": "hex", "mode": "nowait"}
            return self.ask("POST", f"/v1/targets/{target}/readv", body)


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    with Host() as made:
        yield made


def test_the_first_connection_starts_it_and_a_stop_leaves_the_socket(host: Host) -> None:
    assert host.show("ActiveState") == "inactive"
    status, info = host.ask("GET", "/v1/info")
    assert status == 200
    assert info["listeners"] == [f"unix:{SOCKET}"]
    assert host.show("ActiveState") == "active"
    host.execute("systemctl", "stop", "farpeek.service")
    assert host.show("Result") == "success"
    assert host.show("ActiveState", "farpeek.socket") == "active"
    assert host.ask("GET", "/readyz")[0] == 200


def test_a_process_of_another_user_is_read_under_all_of_its_hardening(host: Host) -> None:
    status, answer = host.read_from_an_app()
    assert (status, answer["data"]) == (200, b"hello from a unit".hex())
    found = podman.status_of(pid_of(host))
    assert int(found["CapEff"], 16) == 1 << 19 | 1 << 2  # SYS_PTRACE, DAC_READ_SEARCH
    assert found["NoNewPrivs"] == "1"
    assert found["Seccomp"] == "2"


def test_writing_takes_a_drop_in_that_lets_it_trace() -> None:
    with Host(UNITS / "allow-writes.conf") as host, host.app() as (target, address):
        body = {"addresses": [address], "data": ["SEVMTE8="]}
        status, answer = host.ask("POST", f"/v1/targets/{target}/writev", body)
        assert (status, answer.get("verified")) == (200, True), answer


def pid_of(host: Host) -> int:
    """Return the service's number on this host."""
    inside = host.show("MainPID")
    for path in Path("/proc").glob("[0-9]*"):
        try:
            found = podman.status_of(int(path.name))
        except (FileNotFoundError, ProcessLookupError):
            continue
        if found["Name"] == "farpeek" and found["NSpid"].split()[-1] == inside:
            return int(path.name)
    raise AssertionError("there is no such process")


def test_a_loop_that_hangs_is_replaced_by_the_watchdog(host: Host) -> None:
    assert host.show("WatchdogUSec") == "30s"
    host.ask("GET", "/readyz")
    host.execute("mkdir", "--parents", "/run/systemd/system/farpeek.service.d")
    dropin = (
        "printf '[Service]\\nWatchdogSec=2\\n' >/run/systemd/system/farpeek.service.d/quick.conf"
    )
    host.execute("sh", "-c", dropin)
    host.execute("systemctl", "daemon-reload")
    host.execute("systemctl", "restart", "farpeek.service")
    before = host.show("MainPID")
    host.execute("systemctl", "kill", "--signal=STOP", "farpeek.service")
    until(lambda: host.show("NRestarts") == "1", "it is started again")
    until(lambda: host.show("ActiveState") == "active", "it is ready again")
    assert host.show("MainPID") != before
    assert host.ask("GET", "/readyz")[0] == 200
    host.execute("rm", "/run/systemd/system/farpeek.service.d/quick.conf")
    host.execute("systemctl", "daemon-reload")


def test_who_is_in_the_group_connects_and_needs_a_token_that_systemd_hands_over(
    host: Host,
) -> None:
    group = int(host.execute("getent", "group", "farpeek").split(":")[2])
    assert host.ask("GET", "/v1/targets", user=4242) == (0, "not let in by the socket's mode")
    assert host.ask("GET", "/v1/targets", user=4242, groups=(group,))[0] == 401
    host.execute("mkdir", "--parents", "/etc/farpeek", "/run/systemd/system/farpeek.service.d")
    script = (
        "mkdir -p /run/systemd/system/farpeek.socket.d;"
        "printf '[Socket]\\nListenStream=127.0.0.1:7335\\n'"
        " >/run/systemd/system/farpeek.socket.d/tcp.conf;"
        "umask 077; echo a-token-of-the-tests >/etc/farpeek/token;"
        "sed -n 's/^#\\(LoadCredential\\|Environment\\)/\\1/p' "
        "/etc/systemd/system/farpeek.service >/tmp/lines;"
        "{ echo '[Service]'; cat /tmp/lines; } >/run/systemd/system/farpeek.service.d/token.conf"
    )
    host.execute("sh", "-c", script)
    host.execute("systemctl", "daemon-reload")
    host.execute("systemctl", "stop", "farpeek.service", "farpeek.socket")
    host.execute("systemctl", "start", "farpeek.socket", "farpeek.service")
    for token, status in (("a-token-of-the-tests", 200), ("another", 401)):
        answer = host.ask("GET", "/v1/targets", user=4242, groups=(group,), token=token)
        assert answer[0] == status
        # Though the service itself has no network: systemd opened the socket.
        assert f"HTTP/1.1 {status}" in host.execute("python3", "-c", _ASK_TCP, token)
    assert host.ask("GET", "/v1/targets", user=0)[0] == 200


_ASK_HTTPS = """
import http.client, ssl, sys
trust = ssl.create_default_context(cafile="/etc/farpeek/ca.crt")
connection = http.client.HTTPSConnection("127.0.0.1", 7335, timeout=60, context=trust)
connection.request("GET", "/v1/targets", headers={"Authorization": "Bearer " + sys.argv[1]})
print(connection.getresponse().status)
"""


def put(host: Host, name: str, text: str, mode: str = "0600") -> None:
    """Write a file of root's into /etc/farpeek."""
    place = f"/etc/farpeek/{name}"
    script = f"mkdir -p /etc/farpeek; cat >{place} <<'END'\n{text}\nEND\nchmod {mode} {place}"
    host.execute("sh", "-c", script)


@contextmanager
def policed(*dropins: Path) -> Iterator[tuple[Host, str, trustme.CA]]:
    """Run one with policy.conf and tls.conf, a policy and a certificate; the client's token."""
    token, ca = tokens.make(), trustme.CA()
    made = ca.issue_cert("127.0.0.1")
    with Host(UNITS / "policy.conf", UNITS / "tls.conf", *dropins) as host:
        put(host, "policy.toml", entry("one", token, rest=f"targets = {EVERYTHING}"))
        put(host, "tls.crt", made.cert_chain_pems[0].bytes().decode())
        put(host, "tls.key", made.private_key_pem.bytes().decode())
        put(host, "ca.crt", ca.cert_pem.bytes().decode())
        yield host, token, ca


@pytest.mark.parametrize("dropins", [(), (UNITS / "dynamic-user.conf",)], ids=["", "dynamic user"])
def test_with_a_policy_its_clients_get_in_by_the_socket_and_by_https(
    dropins: tuple[Path, ...],
) -> None:
    with policed(*dropins) as (host, token, _):
        assert host.ask("GET", "/v1/targets")[0] == 401, "root is nobody"
        assert host.ask("GET", "/v1/targets", token=token)[0] == 200
        for sent, status in ((token, "200"), (tokens.make(), "401")):
            assert host.execute("python3", "-c", _ASK_HTTPS, sent).strip() == status
        script = "import os; s = os.stat('/var/log/farpeek/audit.log'); print(oct(s.st_mode))"
        assert host.execute("python3", "-c", script).strip() == "0o100600"
        audit = "/var/log/farpeek/audit.log"
        until(lambda: len(done_in(host.execute("cat", audit))) == 4, "all have left lines")
        host.execute("/opt/farpeek/bin/farpeek", "audit", "verify", audit)


def test_a_reload_takes_policy_certificate_and_the_audits_file_anew() -> None:
    with policed() as (host, token, ca):
        assert host.ask("GET", "/v1/targets", token=token)[0] == 200
        before, fresh = host.show("MainPID"), tokens.make()
        put(host, "policy.toml", entry("one", fresh))
        made = ca.issue_cert("127.0.0.1")
        put(host, "tls.crt", made.cert_chain_pems[0].bytes().decode())
        put(host, "tls.key", made.private_key_pem.bytes().decode())
        host.execute("mv", "/var/log/farpeek/audit.log", "/var/log/farpeek/audit.log.1")
        host.execute("systemctl", "reload", "farpeek.service")
        until(lambda: host.ask("GET", "/v1/targets", token=fresh)[0] == 200, "the policy counts")
        assert host.ask("GET", "/v1/targets", token=token)[0] == 401
        assert host.execute("python3", "-c", _ASK_HTTPS, fresh).strip() == "200"
        log = host.execute("journalctl", "--unit=farpeek.service", "--output=cat")
        assert "the certificate is that of /etc/farpeek/tls.crt now" in log
        until(
            lambda: done_in(host.execute("cat", "/var/log/farpeek/audit.log", status=None)),
            "the audit goes on in a new file",
        )
        assert host.show("MainPID") == before


def test_the_variant_with_a_dynamic_user_reads_as_well() -> None:
    with Host(UNITS / "dynamic-user.conf") as host:
        status, answer = host.read_from_an_app()
        assert (status, answer["data"]) == (200, b"hello from a unit".hex())
        found = podman.status_of(pid_of(host))
        # systemd.exec(5): where dynamic users come from.
        assert 61184 <= int(found["Uid"].split()[0]) <= 65519


NATS = """
listen: "127.0.0.1:4222"
authorization: {{ users: [
  {{ nkey: {node}, permissions: {of_node} }}
  {{ nkey: {alice}, permissions: {of_client} }}
] }}
"""


@pytest.fixture
def fleet_host() -> Iterator[Host]:
    """One with the agent's unit, a broker, and a policy that lets the agent ask for alice."""
    program = Path(sys.executable).with_name("nats-server")
    more = [
        f"--volume={UNITS}/farpeek-agent.service:/etc/systemd/system/farpeek-agent.service:ro",
        f"--volume={UNITS}/farpeek-agent.sysusers:/usr/lib/sysusers.d/farpeek-agent.conf:ro",
        f"--volume={program}:/usr/bin/nats-server:ro",
    ]
    with open_folder() as keys:
        nats = NATS.format(
            node=make_key(keys, "agent"),
            of_node=json.dumps(permits.of_node("n1", {})._asdict()),
            alice=make_key(keys, "alice"),
            of_client=json.dumps(permits.of_client("alice")._asdict()),
        )
        (keys / "nats.conf").write_text(nats)
        more.append(f"--volume={keys}:/keys:ro")
        with Host(UNITS / "policy.conf", image=podman.AGENT, more=more) as made:
            user = made.execute("id", "-u", "farpeek-agent").strip()
            policy = (
                f"[clients.agent]\nunix_uid = [{user}]\nverbs = ['inspect']\n"
                "impersonate = ['alice']\n[clients.alice]\nverbs = ['inspect']\n"
                "targets = [{ comm = '*' }]\n"
            )
            script = (
                "mkdir -p /etc/farpeek && cat >/etc/farpeek/policy.toml <<'E'\n" + policy + "E\n"
            )
            script += "install -m 0600 /keys/agent.nk /etc/farpeek/agent.nk\n"
            script += "printf 'FARPEEK_NATS=nats://127.0.0.1:4222\\nFARPEEK_NODE=n1\\n' "
            script += ">/etc/farpeek/agent.env\n"
            made.execute("sh", "-ec", script)
            made.execute("systemd-run", "--unit=broker", "nats-server", "-c", "/keys/nats.conf")
            yield made


def test_the_agent_asks_the_service_beside_it_without_any_privilege(fleet_host: Host) -> None:
    host = fleet_host
    host.execute("systemctl", "start", "farpeek-agent.service")

    def has_connected() -> bool:
        log = host.execute("journalctl", "--unit=farpeek-agent", "--no-pager", status=None)
        return "connected to nats://127.0.0.1:4222" in log

    until(has_connected, "the agent has found the broker")
    fleet = ("--node=n1", "--nats=nats://127.0.0.1:4222", "--client=alice", "--nkey=/keys/alice.nk")
    shown = host.execute("/opt/farpeek/bin/farpeek", "ps", "comm=systemd", "--json", *fleet)
    assert '"systemd"' in shown
    status = host.execute("cat", f"/proc/{host.show('MainPID', 'farpeek-agent.service')}/status")
    found = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    for name in ("CapEff", "CapPrm", "CapBnd", "CapAmb"):
        assert int(found[name], 16) == 0
    assert found["NoNewPrivs"] == "1"
    assert found["Seccomp"] == "2"
