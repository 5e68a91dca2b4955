"""How long `farpeek read` takes to start, and to show bytes, beside the library it asks with."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING

from bench import processes
from bench.framework import Case, Comparison, Prepared, median_us, timed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from bench.framework import Figures, Side

_READ, _STARTED = "farpeek read", "imports of farpeek read"
CPU, WALL = "CPU", "wall"
_LIBRARY, _CONNECTING, _PYTHON = "import httpx2", "httpx2.HTTPTransport()", "python -c pass"
_IMPORTS = "import farpeek_api.__main__, farpeek_api.cli.commands.read, farpeek_api.cli.session"
_COUNT = 5
_BARE = "http.client, bare"

# The least that asks for the same: a few lines of the standard library.
_PROGRAM = """
import argparse, http.client, json, socket
parser = argparse.ArgumentParser()
for name in ("path", "pid", "address", "length"):
    parser.add_argument(name)
chosen = parser.parse_args()
class Connection(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(chosen.path)
connection = Connection("localhost")
def ask(path, **body):
    connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
    return json.loads(connection.getresponse().read())
target = ask("/v1/targets", pid=int(chosen.pid))["id"]
read = {"addresses": [chosen.address], "lengths": [int(chosen.length)], "encoding": "hex"}
print(ask(f"/v1/targets/{target}/readv", **read)["data"])
"""


def _run(words: Sequence[str], environment: Mapping[str, str]) -> None:
    subprocess.run(
        [sys.executable, *words], check=True, stdout=subprocess.DEVNULL, env={**environment}
    )


def _side(environment: Mapping[str, str], *words: str) -> Side:
    def side() -> Figures:
        before = _cpu_s()
        times = timed(partial(_run, words, environment), _COUNT)
        return {CPU: (_cpu_s() - before) / _COUNT * 1000, WALL: median_us(times) / 1000}

    return side


def _cpu_s() -> float:
    """CPU time of the processes that have ended, which other users of the machine change less."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@contextmanager
def _prepare() -> Iterator[Prepared]:
    with ExitStack() as stack:
        target = stack.enter_context(processes.target(1))
        server = stack.enter_context(processes.service())
        environment = {**os.environ, "FARPEEK_URL": f"unix:{server.path}"}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)  # nobody compiles each time
        read = ("-m", "farpeek_api", "read", str(target.pid), hex(target.numbers["block"]), "64")
        yield Prepared(
            {
                _READ: _side(environment, *read),
                _BARE: _side(environment, "-c", _PROGRAM, str(server.path), *read[3:]),
                _STARTED: _side(environment, "-c", _IMPORTS),
                _LIBRARY: _side(environment, "-c", "import httpx2"),
                _CONNECTING: _side(environment, "-c", "import httpx2; httpx2.HTTPTransport()"),
                _PYTHON: _side(environment, "-c", "pass"),
            },
            [
                Comparison(CPU, "ms", _STARTED, _LIBRARY, at_most=1.3),
                Comparison(CPU, "ms", _READ, _CONNECTING),
                Comparison(WALL, "ms", _READ, _CONNECTING),
                Comparison(CPU, "ms", _READ, _BARE),
                Comparison(WALL, "ms", _READ, _BARE),
                Comparison(CPU, "ms", _LIBRARY, _PYTHON),
            ],
        )


CASE = Case(
    "command",
    "the time that `farpeek read` takes to import what it needs, and from its start to 64 bytes",
    _prepare,
    rounds=7,
)
