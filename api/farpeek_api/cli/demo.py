"""`farpeek demo`: a real service, a sample process, commands, a read by HTTP, the process's end."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, NoReturn

from farpeek_api import output
from farpeek_api.cli import running, statuses
from farpeek_api.cli.localhttp import connect
from farpeek_api.serving.listeners import UnixAddress

if TYPE_CHECKING:
    import argparse
    import http.client
    from collections.abc import Generator, Sequence
    from types import FrameType

PATIENCE_S: Final = 60.0
"""For each step; none takes longer than a second on a machine that is neither overloaded nor
emulated."""

# Three pages with the middle one closed, and in the last one a counter that goes up. It ends with
# its standard input, so it never outlives us.
_SAMPLE: Final = """
import ctypes, mmap, select, signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever interrupts the demo means us
PR_SET_PTRACER, PR_SET_PTRACER_ANY, PROT_NONE = 0x59616D61, ctypes.c_ulong(-1), 0
page = mmap.PAGESIZE
area = mmap.mmap(-1, 3 * page)
area[0:page] = (b"Hello from the first page. " * page)[:page]
area[2 * page:] = (b"The last page greets, too. " * page)[:page]
start = ctypes.addressof(ctypes.c_char.from_buffer(area))
libc = ctypes.CDLL(None)
libc.mprotect(ctypes.c_void_p(start + page), ctypes.c_size_t(page), PROT_NONE)
# Where Yama restricts ptrace, a process may still name who is allowed to read it.
libc.prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0)
counter = ctypes.c_uint64.from_buffer(area, 3 * page - 8)
counter.value = 0
print(start, page, flush=True)
while not select.select([sys.stdin], [], [], 0.05)[0]:
    counter.value += 1
sys.exit(7)
"""


class DemoError(Exception):
    """A step did not work; the text says which."""


def parser() -> argparse.ArgumentParser:
    """Make the command's parser."""
    return output.Parser(
        prog="farpeek demo",
        description="Start a service and a sample process, look into it by commands and by HTTP, "
        "see it exit.",
    )


def main(arguments: Sequence[str]) -> int:
    """Show everything once; 0 if it all worked."""
    parser().parse_args(arguments)
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        with tempfile.TemporaryDirectory(prefix="farpeek-demo-") as folder:
            _show(UnixAddress(Path(folder) / "run" / "farpeek.sock"))
    except KeyboardInterrupt:
        _say("Interrupted; everything is cleaned up.")
        return 130
    except BrokenPipeError:
        raise  # whoever reads has seen enough
    except (DemoError, OSError, ValueError) as error:
        sys.stderr.write(f"farpeek demo: {error}\n")
        return 1
    finally:
        signal.signal(signal.SIGTERM, before)
    return 0


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _show(address: UnixAddress) -> None:
    with _service(address), _sample() as (sample, start, page):
        _say(f"1. The service listens on a private socket: {address}")
        _say(f"2. A sample process runs: pid {sample.pid}, three pages from {start:#x} on,")
        _say("   of which the middle one may not be read (PROT_NONE).")
        _say("\n3. It is registered as a target, held by its pidfd from now on.")
        target = _call(address, "POST", "/v1/targets", {"pid": sample.pid})
        with _events(address, target["id"]) as events:
            _say(
                "\n4. One vectored read: its beginning, and 48 bytes across both edges of the hole."
            )
            _read(address, target["id"], start, page)
            _say(
                "\n5. From a shell: where its pages are, what is around the hole, and a counter at"
            )
            _say("   their end, as it goes up.")
            _look(address, sample.pid, start, page)
            _say("\n6. The sample process ends with exit status 7; the service tells it as events.")
            _end(sample)
            _show_events(events)
    _say("\n7. Service and sample process have ended; nothing is left behind.")


def _look(address: UnixAddress, pid: int, start: int, page: int) -> None:
    """Show commands, and what they show."""
    _command(address, "maps", pid, f"{start:#x}", "--after", 2)
    _command(address, "read", pid, f"{start + page - 16:#x}", page + 32, status=statuses.INCOMPLETE)
    counter = f"{start + 3 * page - 8:#x}"
    _command(address, "watch", pid, counter, "--type", "u64", "--hz", 20, "--ticks", 12)


def _command(address: UnixAddress, name: str, *words: object, status: int = statuses.DONE) -> None:
    """Run a command, as a shell would."""
    shown = [str(word) for word in words]
    _say(f"\n   $ farpeek {shlex.join([name, *shown])}\n")
    with contextlib.redirect_stderr(sys.stdout):
        ended = running.run(name, [*shown, "--url", str(address)])
    if ended != status:
        raise DemoError(f"farpeek {name} should have ended with status {status}")


def _read(address: UnixAddress, target_id: str, start: int, page: int) -> None:
    addresses = [start, start + page - 24, start + 2 * page - 24]
    lengths = [32, 48, 48]
    request = {"addresses": [hex(each) for each in addresses], "lengths": lengths}
    answer = _call(address, "POST", f"/v1/targets/{target_id}/readv", request)
    data = base64.b64decode(answer["data"])
    missing = {
        gap["region"]: range(gap["offset"], gap["offset"] + gap["length"]) for gap in answer["gaps"]
    }
    _say("\n   The bytes, decoded (-- is a byte of a gap):")
    position = 0
    for region, (first, length) in enumerate(zip(addresses, lengths, strict=True)):
        _say(f"   region {region}")
        _dump(first, data[position : position + length], missing.get(region, range(0)))
        position += length
    if len(answer["gaps"]) != 2:  # noqa: PLR2004 - one at each edge
        raise DemoError("the read should have had two gaps")


def _dump(address: int, data: bytes, missing: range) -> None:
    for row in range(0, len(data), 16):
        places = range(row, min(row + 16, len(data)))
        codes = " ".join("--" if at in missing else f"{data[at]:02x}" for at in places)
        text = "".join(
            "-" if at in missing else chr(data[at]) if 32 <= data[at] < 127 else "."  # noqa: PLR2004 - printable ASCII
            for at in places
        )
        _say(f"     {address + row:#x}  {codes:<47}  {text}")


@contextlib.contextmanager
def _service(address: UnixAddress) -> Generator[None]:
    """Run `farpeek serve` on a socket of its own."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("FARPEEK_")
    }
    environment.pop("NOTIFY_SOCKET", None)  # our supervisor's, if any
    command = [sys.executable, "-m", "farpeek_api", "serve", "--listen", str(address)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, env=environment)  # noqa: S603 - of our own making
    try:
        _expect_line(process.stderr, b"farpeek is listening on", "the service does not start")
        yield
    finally:
        _stop(process)


@contextlib.contextmanager
def _sample() -> Generator[tuple[subprocess.Popen[bytes], int, int]]:
    """Run the sample process; gives it, its first address and the size of a page."""
    process = subprocess.Popen(  # noqa: S603 - of our own making
        [sys.executable, "-c", _SAMPLE], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        line = _expect_line(process.stdout, b" ", "the sample process does not start")
        start, page = map(int, line.split())
        yield process, start, page
    finally:
        _stop(process)


def _expect_line(stream: IO[bytes] | None, wanted: bytes, complaint: str) -> bytes:
    """Read lines up to one with ``wanted`` in it."""
    assert stream is not None  # noqa: S101 - it was asked for
    text = b""
    end = time.monotonic() + PATIENCE_S
    while select.select([stream], [], [], max(0.0, end - time.monotonic()))[0]:
        more = os.read(stream.fileno(), 4096)
        text += more
        for line in text.splitlines(keepends=True):
            if wanted in line and line.endswith(b"\n"):
                return line
        if not more:
            break
    raise DemoError(f"{complaint}:\n{text.decode(errors='replace')}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(PATIENCE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            stream.close()


def _end(sample: subprocess.Popen[bytes]) -> None:
    assert sample.stdin is not None  # noqa: S101 - it was asked for
    sample.stdin.close()
    sample.wait(PATIENCE_S)


def _call(address: UnixAddress, method: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """Make a request, and show it with its answer."""
    _say(f"\n   {method} {path}\n{_pretty(body)}")
    connection = connect(address, PATIENCE_S)
    with contextlib.closing(connection):
        connection.request(method, path, json.dumps(body), {"Content-Type": "application/json"})
        response = connection.getresponse()
        answer: dict[str, Any] = json.loads(response.read())
    _say(f"\n   {response.status} {response.reason}\n{_pretty(answer)}")
    if response.status >= 400:  # noqa: PLR2004 - all errors from here on
        raise DemoError(answer["detail"] + "\n" + answer.get("hint", ""))
    return answer


@contextlib.contextmanager
def _events(address: UnixAddress, target_id: str) -> Generator[http.client.HTTPResponse]:
    """Follow the target's events, from this moment on."""
    with contextlib.closing(connect(address, PATIENCE_S)) as connection:
        connection.request("GET", f"/v1/events?target={target_id}")
        yield connection.getresponse()


def _show_events(response: http.client.HTTPResponse) -> None:
    """Show events up to the one that tells the exit status."""
    _say("\n   GET /v1/events")
    kind = ""
    end = time.monotonic() + PATIENCE_S  # comments keep the connection alive for ever
    while time.monotonic() < end and (line := response.readline().decode().rstrip("\n")):
        field, _, value = line.partition(": ")
        if field == "event":
            kind = value
        if field == "data":
            target = json.loads(value)["target"]
            shown = {name: target[name] for name in ("id", "pid", "state", "exited_at", "exit")}
            _say(f"\n   event: {kind}\n{_pretty(shown)}")
            if kind == "reaped":
                return
        if field == "data" or line.startswith(":"):
            response.readline()  # the empty line that ends each
    raise DemoError("the events ended before the exit was told")


def _pretty(value: object) -> str:
    text = json.dumps(value, indent=2)
    return "\n".join("   " + line for line in text.splitlines())


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
