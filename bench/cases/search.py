"""A gibibyte that is searched, against memmem(3) over a loop that reads it, in C."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack, closing, contextmanager
from typing import TYPE_CHECKING, Final

from bench import processes
from bench.cases.many_targets import UnixConnection
from bench.framework import Case, Comparison, Prepared
from bench.processes import NATIVE, PAGE, Native
from bench.sides import RATE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.framework import Figures, Side

_SIZE: Final = 1 << 30
_TEXT: Final = b"the needle in this haystack"
_PATTERNS: Final = {
    "text": ({"text": _TEXT.decode()}, _TEXT.hex(), "-"),
    "hex": ({"hex": "de ad be ef ?? ?? 4d 49"}, "deadbeef", "????4d49"),
}
_OTHERS: Final = {
    "number": {"number": 1234567890, "type": "u32"},
    "pointers": {"pointer_to": ["0x7f0012340000", "0x7f0012350000"]},
    "regex": {"regex": "need(le|y) [a-z]+ haystack"},
}


def _searching(link: UnixConnection, path: str, pattern: object, start: int) -> Side:
    wanted = {"pattern": pattern, "ranges": [[hex(start), hex(start + _SIZE)]]}
    body = json.dumps(wanted).encode()

    def side() -> Figures:
        began = time.perf_counter()
        answer = link.post(path, body, {})
        elapsed_s = time.perf_counter() - began
        done = json.loads(answer.splitlines()[-1])["done"]
        assert (done["bytes"], done["stopped"]) == (_SIZE, None)  # noqa: S101
        return {RATE: _SIZE / elapsed_s / 1e6}

    return side


def _seeking(native: Native) -> Side:
    def side() -> Figures:
        elapsed_ns = int(native.command("1").split()[0])
        return {RATE: _SIZE / elapsed_ns * 1e3}

    return side


@contextmanager
def _prepare() -> Iterator[Prepared]:
    with ExitStack() as stack:
        target = stack.enter_context(processes.target(_SIZE // PAGE))
        server = stack.enter_context(processes.service())
        connection = stack.enter_context(server.connect())
        block = target.numbers["block"]
        path = f"/v1/targets/{connection.register(target.pid)}/search"
        link = stack.enter_context(closing(UnixConnection(server.path)))
        sides: dict[str, Side] = {}
        comparisons: list[Comparison] = []
        for name, (pattern, literal, rest) in _PATTERNS.items():
            words = (NATIVE / "seek.c", target.pid, block, _SIZE, literal, rest)
            sides[name] = _searching(link, path, pattern, block)
            sides[f"C {name}"] = _seeking(stack.enter_context(Native(*words)))
            comparisons.append(Comparison(RATE, "MB/s", name, f"C {name}", at_least=0.5))
        for name, other in _OTHERS.items():
            sides[name] = _searching(link, path, other, block)
            comparisons.append(Comparison(RATE, "MB/s", name, "C text"))
        yield Prepared(sides, comparisons)


CASE = Case(
    "search",
    "1 GiB of resident memory searched in `nowait` mode, against memmem over a loop of "
    "process_vm_readv in C, 1 MiB each",
    _prepare,
    rounds=5,
)
