"""podman with the storage that tests/container/prepare has made, and containers that end."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from support.ending import Ending
from support.waiting import PATIENCE_S, until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

HOME = Path(__file__).resolve().parents[2] / "build" / "containers"
BASE = "localhost/farpeek-base:latest"
PLAIN = "localhost/farpeek:farpeek"
PTRACE = "localhost/farpeek:ptrace"
AGENT = "localhost/farpeek:agent"

_ENVIRONMENT = {
    "CONTAINERS_CONF": str(HOME / "containers.conf"),
    "CONTAINERS_STORAGE_CONF": str(HOME / "storage.conf"),
}
_numbers = itertools.count(1)


def environment() -> dict[str, str]:
    """Return this process's own, with what makes podman use that storage."""
    return {**os.environ, **_ENVIRONMENT}


def podman(*arguments: str, status: int | None = 0) -> subprocess.CompletedProcess[str]:
    """Run it; ``status`` is what it has to end with, None for anything."""
    done = subprocess.run(
        ["podman", "--log-level", "fatal", *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
        cwd=HOME,  # conmon leaves a file `oom` where it is when a container runs out of memory
        env=environment(),
    )
    assert status is None or done.returncode == status, (arguments, done)
    return done


def inspect(kind: str, name: str) -> Any:  # noqa: ANN401 - whatever podman says
    """Return what podman knows of an image, a container or a pod."""
    document = json.loads(podman(kind, "inspect", name).stdout)
    return document[0] if isinstance(document, list) else document


def _network(flags: tuple[str, ...]) -> tuple[str, ...]:
    """Return the flag that leaves a container with its loopback alone; a pod's has the pod's."""
    alone = not any(flag.startswith(("--pod", "--network")) for flag in flags)
    return ("--network=none",) if alone else ()


def new_name() -> str:
    """Return a name that no other container of this run has."""
    return f"test-{os.getpid()}-{next(_numbers)}"


class Container(Ending):
    """A container that runs in the background; ``flags`` are those of `podman run`."""

    def __init__(self, image: str, *command: str, flags: tuple[str, ...] = ()) -> None:
        self.name = new_name()
        self.run_status = podman(
            *("run", "--detach", "--name", self.name, *_network(flags), *flags, image, *command),
            status=None,
        )

    def end(self) -> None:
        podman("rm", "--force", "--time", "0", self.name)

    def started(self) -> Container:
        """Return itself; fails if it could not even be started."""
        assert self.run_status.returncode == 0, self.run_status
        return self

    @property
    def state(self) -> Any:  # noqa: ANN401 - whatever podman says
        """What podman knows of its process."""
        return inspect("container", self.name)["State"]

    @property
    def pid(self) -> int:
        """The number of its first process, here."""
        return int(self.state["Pid"])

    @property
    def log(self) -> str:
        """All that it has said."""
        done = podman("logs", self.name)
        return done.stdout + done.stderr

    def await_log(self, text: str) -> None:
        """Wait until it has said this."""
        until(lambda: text in self.log or not self.state["Running"], f"it says {text!r}")
        assert text in self.log, self.log

    def credentials(self) -> Mapping[str, str]:
        """Return /proc/PID/status of the process itself: `podman exec` has rights of its own."""
        return status_of(self.pid)

    def limit(self, controller: str, file: str) -> int:
        """Return what is in a file of its group of a cgroup controller (of version 1)."""
        for line in Path(f"/proc/{self.pid}/cgroup").read_text().splitlines():
            _, controllers, group = line.split(":", 2)
            if controller in controllers.split(","):
                return int(Path(f"/sys/fs/cgroup/{controller}{group}/{file}").read_text())
        raise AssertionError(f"no cgroup of {controller}")

    def execute(self, *command: str, flags: tuple[str, ...] = (), status: int | None = 0) -> str:
        """Run a command in it; what it says."""
        done = podman("exec", *flags, self.name, *command, status=status)
        return done.stdout + done.stderr


def status_of(pid: int) -> dict[str, str]:
    """Return /proc/PID/status."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


@contextlib.contextmanager
def pod(shared: str) -> Iterator[str]:
    """Make a pod whose containers share such namespaces (`pid,net`); its name."""
    name = new_name()
    podman("pod", "create", "--name", name, "--share", shared, "--network", "none")
    try:
        yield name
    finally:
        podman("pod", "rm", "--force", "--time", "0", name)


class Foreground(Ending):
    """A container that is spoken to by stdin and stdout, line by line.

    ``container["marker"]`` is an address that it printed before `ready`.
    """

    def __init__(self, image: str, *command: str, flags: tuple[str, ...] = ()) -> None:
        self.name = new_name()
        self._addresses: dict[str, str] = {}
        self._process = subprocess.Popen(
            [
                *("podman", "--log-level", "fatal", "run", "--rm", "--interactive"),
                *("--name", self.name, *_network(flags), *flags, image, *command),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=HOME,
            env=environment(),
        )

    def end(self) -> None:
        podman("rm", "--force", "--ignore", "--time", "0", self.name)
        self._process.kill()
        self._process.wait(PATIENCE_S)
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):
                pipe.close()

    def __getitem__(self, name: str) -> str:
        return self._addresses[name]

    def await_ready(self) -> None:
        """Read the addresses that a program of tests/targets prints when it begins."""
        self._addresses = dict(line.split("=") for line in iter(self.line, "ready"))

    def line(self) -> str:
        """Return the next line that it says; fails at its end."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, f"{self.name} ended with {self._process.wait(PATIENCE_S)}"
        return line.rstrip("\n")

    def send(self, line: str) -> None:
        """Say something to it."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()

    @property
    def pid(self) -> int:
        """The number of its first process, here."""
        return int(inspect("container", self.name)["State"]["Pid"])
