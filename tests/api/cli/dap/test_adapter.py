"""An editor at a real process, which goes on: by a client of the protocol that others wrote."""

from __future__ import annotations

import base64
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from farpeek_api.cli import statuses
from farpeek_api.cli.dap.memory import MOST_READ
from farpeek_api.cli.dap.sample import MOST_AT_ONCE
from support.commands import run
from support.editor import Adapter, Editor
from support.sample import Sample
from support.targets import start, state_of
from support.waiting import PATIENCE_S
from support.wire import Served

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def adapter(served: Served) -> Iterator[Adapter]:
    with Adapter(served) as started:
        yield started


@pytest.fixture(scope="module")
def editor(adapter: Adapter, sample: Sample) -> Editor:
    attached = Editor.over_stdio(adapter)
    attached.attach(sample.pid)
    return attached


def test_it_says_what_it_can(editor: Editor) -> None:
    assert editor.capabilities.supportsReadMemoryRequest
    assert not editor.capabilities.supportsWriteMemoryRequest
    assert not editor.capabilities.supportTerminateDebuggee


def test_a_thread_that_waits_has_its_top_frame(editor: Editor, sample: Sample) -> None:
    (thread,) = editor.ask("threads").threads
    assert thread.id == sample.pid
    assert thread.name.startswith("python")
    stack = editor.ask("stackTrace", threadId=thread.id)
    (frame,) = stack.stackFrames
    assert stack.totalFrames == 1
    registers, mappings = editor.ask("scopes", frameId=frame.id).scopes
    shown = editor.ask("variables", variablesReference=registers.variablesReference).variables
    values = {each.name: each for each in shown}
    pc = int(Path(f"/proc/{sample.pid}/syscall").read_text().split()[-1], 16)
    assert frame.instructionPointerReference == hex(pc) == values["pc"].memoryReference
    assert frame.name in values["pc"].value
    assert "libc.so.6:" in frame.name
    assert values["sp"].value.split()[1].startswith("[stack]+")

    found: list[str] = []
    while page := editor.ask(
        "variables", variablesReference=mappings.variablesReference, start=len(found), count=7
    ).variables:
        assert len(page) <= 7
        found += [each.name for each in page]
    lines = Path(f"/proc/{sample.pid}/maps").read_text().splitlines()
    assert found == [" ".join(line.split()[:2]) for line in lines]
    assert mappings.indexedVariables == len(lines)


def test_a_thread_that_runs_has_no_frame(served: Served) -> None:
    command = [sys.executable, "-c", "print(1, flush=True)\nwhile True: pass"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as busy, Adapter(served) as adapter:
        try:
            assert busy.stdout is not None
            busy.stdout.readline()
            editor = Editor.over_stdio(adapter)
            editor.attach(busy.pid)
            stack = editor.ask("stackTrace", threadId=busy.pid)
            assert (stack.stackFrames, stack.totalFrames) == ([], 0)
        finally:
            busy.kill()


def test_what_is_evaluated_is_what_is_there(editor: Editor, sample: Sample) -> None:
    at = sample.address

    def shown(expression: str) -> str:
        return str(editor.ask("evaluate", expression=expression, context="watch").result)

    assert shown(f"u16 {at:#x}") == "256"
    assert shown(f"{at:#x}+2") == f"{at + 2:#x} " + shown(f"{at:#x}+2").partition(" ")[2]
    assert "libc.so.6:environ" in shown("libc.so.6:environ")
    assert shown(f"u8 {at + sample.size:#x}").startswith("-- ")
    assert shown(f"cstring {at + 1:#x}").startswith(r"\x01\x02")
    answer = editor.ask("evaluate", expression=f"u8[300] {at:#x}")
    assert answer.memoryReference == hex(at)
    assert answer.indexedVariables == 300
    page = editor.ask(
        "variables", variablesReference=answer.variablesReference, start=250, count=3
    ).variables
    assert [(each.name, each.value) for each in page] == [
        ("[250]", "250"),
        ("[251]", "0"),
        ("[252]", "1"),
    ]
    assert page[0].memoryReference == hex(at + 250)


def test_memory_is_read_up_to_the_first_hole_which_is_told(editor: Editor, sample: Sample) -> None:
    end = sample.address + sample.size
    whole = editor.read(hex(sample.address), 1000, offset=5)
    assert (whole.address, whole.unreadableBytes) == (hex(sample.address + 5), 0)
    assert base64.b64decode(whole.data) == sample.bytes(5, 1000)
    short = editor.read(hex(end - 8), 32)
    assert base64.b64decode(short.data) == sample.bytes(sample.size - 8, 8)
    assert short.unreadableBytes == 24
    hole = editor.read(hex(end), 32)
    assert (hole.data, hole.unreadableBytes) == ("", 32)
    assert editor.read(hex(sample.address), 0).data == ""
    said = editor.refused("readMemory", memoryReference=hex(end), count=0)
    assert said.startswith(f"{end:#x} cannot be read")
    large = editor.read(hex(sample.address), 2 * MOST_READ)
    assert base64.b64decode(large.data) == sample.bytes(0, MOST_READ)


@pytest.mark.parametrize(
    ("command", "arguments", "said"),
    [
        ("readMemory", {"memoryReference": "main", "count": 1}, "`memoryReference` is none"),
        ("readMemory", {"memoryReference": "0x1", "offset": -2, "count": 1}, "`offset` leads out"),
        ("readMemory", {"memoryReference": "0x1", "count": -1}, "`count` is below 0"),
        ("readMemory", {"memoryReference": "0x1"}, "`count` has to be a whole number"),
        ("stackTrace", {"threadId": 1}, "there is no thread 1"),
        ("scopes", {"frameId": 1}, "there is no frame 1"),
        ("variables", {"variablesReference": 9999}, "it was of an earlier sample"),
        ("evaluate", {"expression": "no_such"}, "nothing in the target is called"),
        ("evaluate", {"expression": f"u8[{MOST_AT_ONCE + 1}] 0x1"}, "an array has 1 to"),
        ("evaluate", {"expression": "u64[4] 0xffffffffffffffff"}, "go past 2^64"),
        ("evaluate", {"expression": "8" * 5000}, "at most 4096"),
        ("evaluate", {}, "`expression` has to be a text"),
        ("attach", {"pid": 1}, "a target is attached"),
        ("writeMemory", {"memoryReference": "0x1", "data": "AA=="}, "farpeek dap --write"),
        ("launch", {}, "there is no request 'launch' here"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_cure(
    editor: Editor, command: str, arguments: dict[str, object], said: str
) -> None:
    assert said in editor.refused(command, **arguments)


def test_it_goes_on_and_is_sampled_again(editor: Editor, sample: Sample) -> None:
    old = editor.ask("evaluate", expression=f"u8[2] {sample.address:#x}").variablesReference
    for command in ("next", "pause", "continue"):
        editor.ask(command, threadId=sample.pid)
        stopped = editor.event("StoppedEvent")
        assert stopped.allThreadsStopped
        assert "goes on" in stopped.description
        assert state_of(sample.pid) == "S"
    assert "earlier sample" in editor.refused("variables", variablesReference=old)
    (answer,) = editor.ask("setBreakpoints", source={}, breakpoints=[{"line": 1}]).breakpoints
    assert answer.verified is False
    status = Path(f"/proc/{sample.pid}/status").read_text()
    assert "TracerPid:\t0" in status


def test_changes_of_what_is_shown_are_told(served: Served) -> None:
    with start("counters") as target, Adapter(served, "--hz", "50") as adapter:
        address = target["counters"]
        editor = Editor.over_stdio(adapter)
        editor.attach(target.pid)
        assert target.command("set 0 1") == "set"
        editor.read(hex(address), 64, offset=0)
        assert target.command("run") == "runs"
        event = editor.event("MemoryEvent")
        assert (event.memoryReference, event.offset, event.count) == (hex(address), 0, 64)


def test_the_end_of_a_target_is_told(served: Served) -> None:
    with Sample() as process, Adapter(served) as adapter:
        editor = Editor.over_stdio(adapter)
        editor.attach(process.pid)
        process.exit(7)
        assert editor.event("ExitedEvent").exitCode == 7
        editor.event("TerminatedEvent")
        editor.ask("disconnect")
        assert adapter.leave() == (statuses.DONE, b"")


def test_it_writes_only_where_that_was_asked_for(folder: Path) -> None:
    with (
        Served(folder, "--allow-writes") as service,
        start("counters") as target,
        Adapter(service, "--write") as adapter,
    ):
        address = target["counters"]
        editor = Editor.over_stdio(adapter)
        assert editor.capabilities.supportsWriteMemoryRequest
        editor.attach(target.pid)
        before = editor.read(hex(address), 4).data
        new = base64.b64encode(b"new!").decode()
        answer = editor.ask("writeMemory", memoryReference=hex(address), data=new)
        assert answer.bytesWritten == 4
        assert editor.read(hex(address), 4).data == new != before
        said = editor.refused("writeMemory", memoryReference="0x10", data=new)
        assert said.startswith("nothing is written: 0x10 is")
        assert "no base64" in editor.refused(
            "writeMemory", memoryReference=hex(address), data="new"
        )


def test_editors_connect_one_after_the_other(served: Served, sample: Sample) -> None:
    with Adapter(served, "--listen", "127.0.0.1:0") as adapter:
        port = adapter.port()
        for _ in range(2):
            with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as connection:
                editor = Editor.over_tcp(connection)
                editor.attach(sample.pid)
                assert editor.read(hex(sample.address), 4).data == "AAECAw=="
        with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert connection.recv(100) == b""
        with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as connection:
            Editor.over_tcp(connection)


def test_another_user_of_the_host_is_sent_away(served: Served) -> None:
    program = (
        "import socket, sys\n"
        "c = socket.create_connection(('127.0.0.1', int(sys.argv[1])))\n"
        "c.sendall(b'Content-Length: 2\\r\\n\\r\\n{}')\n"
        "try:\n    got = c.recv(100)\nexcept ConnectionError:\n    got = b''\n"
        "sys.exit(len(got))\n"
    )
    with Adapter(served, "--listen", "127.0.0.1:0") as adapter:
        port = str(adapter.port())
        as_other = ["setpriv", "--reuid", "65534", "--clear-groups", "/usr/bin/python3"]
        done = subprocess.run([*as_other, "-c", program, port], check=False, timeout=PATIENCE_S)
        assert done.returncode == 0
        with socket.create_connection(("127.0.0.1", int(port)), PATIENCE_S) as connection:
            Editor.over_tcp(connection)


@pytest.mark.parametrize(
    ("words", "cure"),
    [
        (["--listen", "0.0.0.0:1"], "write 127.0.0.1:PORT"),
        (["--listen", "localhost"], "write 127.0.0.1:PORT"),
        (["--listen", "127.0.0.1:65536"], "write 127.0.0.1:PORT"),
        (["--hz", "101"], "up to 100"),
        (["--curl"], "no such option"),
    ],
)
def test_a_wrong_word_is_refused_with_its_cure(words: list[str], cure: str) -> None:
    ran = run("dap", *words)
    assert ran.status == statuses.USAGE
    assert cure in ran.error
