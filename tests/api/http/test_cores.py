"""Cores of processes that go on: what debuggers find in them, and what becomes of the process."""

from __future__ import annotations

import gzip
import io
import mmap
import re
import shutil
import signal
import struct
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import zstandard
from elftools.elf.elffile import ELFFile

from farpeek_api.client.cores import last_note
from support.folders import open_folder
from support.kinds import FuseServer
from support.reading import proc_mem
from support.serving import UnixConnection
from support.targets import SOURCES, Target, start, start_32_bits, state_of
from support.waiting import until
from support.wire import Served
from support.writing import tracers

if TYPE_CHECKING:
    from collections.abc import Iterator


PAGE = mmap.PAGESIZE
LINKED = {"pie": ["-pie", "-fPIE"], "no-pie": ["-no-pie", "-fno-pie"], "static": ["-static"]}


def built(folder: Path, *flags: str) -> Path:
    """Build the program as a debugger would want to see it."""
    program = folder / "stacks"
    command = ["gcc", "-O2", "-g", "-fno-optimize-sibling-calls", "-pthread", *flags]
    subprocess.run([*command, "-o", str(program), str(SOURCES / "stacks.c")], check=True)
    return program


@pytest.fixture(params=LINKED)
def program(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return built(tmp_path, *LINKED[request.param])


@pytest.fixture
def stacks(tmp_path: Path) -> Iterator[Target]:
    with Target("stacks", program=built(tmp_path)) as target:
        yield target


def core_of(served: Served, pid: int, query: str = "") -> bytes:
    reply = served.request("GET", f"/v1/targets/{served.register(pid)}/core{query}")
    assert reply.status == 200, reply.body
    assert reply.headers["farpeek-core-size"] == str(len(reply.body))
    return reply.body


def loads(core: bytes) -> list[Any]:
    elf = ELFFile(io.BytesIO(core))
    return [each for each in elf.iter_segments() if each["p_type"] == "PT_LOAD"]


def saved(folder: Path, core: bytes) -> Path:
    path = folder / "core"
    path.write_bytes(core)
    return path


def gdb(*arguments: str) -> str:
    commands = ("thread apply all -s bt", "info sharedlibrary", "print *head->next", "x/s text")
    words = [word for each in commands for word in ("-ex", each)]
    ran = subprocess.run(
        ["gdb", "-nx", "-batch", *arguments, *words], capture_output=True, text=True, check=True
    )
    return ran.stdout


def traces(shown: str) -> dict[str, list[str]]:
    """Functions and lines of each thread's frames, by its number."""
    found: dict[str, list[str]] = {}
    for part in re.split(r"^Thread ", shown, flags=re.MULTILINE)[1:]:
        number = re.search(r"LWP (\d+)|process (\d+)", part)
        assert number is not None
        frames = re.findall(r"^#\d+ +(?:0x\w+ in )?(\S+) .*?(?: at (\S+))?$", part, re.MULTILINE)
        found[number[1] or number[2]] = [f"{name} {place}" for name, place in frames]
    return found


@pytest.mark.skipif(shutil.which("gdb") is None, reason="gdb is not installed")
def test_a_debugger_finds_in_it_what_it_finds_in_the_process(
    served: Served, program: Path, tmp_path: Path
) -> None:
    with Target("stacks", program=program) as target:
        until(lambda: state_of(target.pid) == "S", "it waits")
        before = int.from_bytes(proc_mem(target.pid, target["counter"], 8), "little")
        core = saved(tmp_path, core_of(served, target.pid, "?mode=wait"))
        assert tracers(target.pid) == set()
        assert state_of(target.pid) == "S"

        def goes_on() -> bool:
            now = int.from_bytes(proc_mem(target.pid, target["counter"], 8), "little")
            return now > before

        until(goes_on, "the counter goes on")
        shown, live = gdb(str(program), str(core)), gdb("-p", str(target.pid))
    by_core, by_ptrace = traces(shown), traces(live)
    assert by_core.keys() == by_ptrace.keys()
    assert len(by_core) == 5
    deep = [tid for tid, frames in by_ptrace.items() if any("deep" in each for each in frames)]
    assert len(deep) == 3
    for tid in deep:
        assert by_core[tid] == by_ptrace[tid]
        assert len(by_core[tid]) >= 13
    for line in ("value = 1", '"hello from the target"'):
        assert line in shown
        assert line in live
    libraries = re.findall(r"^0x\w+ +0x\w+ +Yes.* (/\S+)$", live, re.MULTILINE)
    assert all(library in shown for library in libraries)


@pytest.mark.skipif(shutil.which("lldb") is None, reason="lldb is not installed")
def test_lldb_opens_it_with_all_threads(served: Served, stacks: Target, tmp_path: Path) -> None:
    core = saved(tmp_path, core_of(served, stacks.pid, "?mode=wait"))
    opened = ["lldb", "--no-lldbinit", "--batch", "--core", str(core), str(tmp_path / "stacks")]
    commands = ("thread backtrace all", "expression text", "image list")
    ran = subprocess.run(
        [*opened, *(word for each in commands for word in ("-o", each))],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    threads = re.split(r"^(?:\*| ) thread #", ran.stdout, flags=re.MULTILINE)[1:]
    assert len(threads) == 5, ran.stdout
    assert sum(each.count("`deep") >= 10 and "`waiting" in each for each in threads) == 3
    assert "hello from the target" in ran.stdout
    assert "libc.so.6" in ran.stdout


@pytest.mark.skipif(shutil.which("eu-stack") is None, reason="elfutils are not installed")
def test_elfutils_open_it_with_all_threads(served: Served, stacks: Target, tmp_path: Path) -> None:
    core = saved(tmp_path, core_of(served, stacks.pid, "?mode=wait"))
    ran = subprocess.run(
        ["eu-stack", "--core", str(core), "-e", str(tmp_path / "stacks")],
        capture_output=True,
        text=True,
        check=False,  # the thread that has just woken up has no stack
    )
    threads = ran.stdout.split("TID ")[1:]
    assert len(threads) == 5
    assert sum(" deep" in each and " waiting" in each for each in threads) == 3


def test_drgn_opens_it_with_all_threads(served: Served, stacks: Target, tmp_path: Path) -> None:
    drgn = pytest.importorskip("drgn")
    core = saved(tmp_path, core_of(served, stacks.pid, "?mode=wait"))
    opened = drgn.Program()
    opened.set_core_dump(str(core))
    with pytest.raises(drgn.MissingDebugInfoError):  # for [vdso]
        opened.load_debug_info([str(tmp_path / "stacks")], default=True)
    assert opened["text"].string_() == b"hello from the target"
    shown = [str(each.stack_trace()) for each in opened.threads()]
    assert len(shown) == 5
    assert sum("deep (" in each for each in shown) == 3


def test_every_byte_is_the_targets_or_zero_where_it_is_said_to_be_missing(
    served: Served, stacks: Target
) -> None:
    """Of a process of which nothing changes but one counter, and the stack of who counts."""
    core = core_of(served, stacks.pid, "?mode=wait")
    told = last_note(io.BytesIO(core), len(core))
    assert told.complete
    read = 0
    for segment in loads(core):
        start_at, size = segment["p_vaddr"], segment["p_filesz"]
        data = segment.data()
        if size > 64 << 20 or start_at <= stacks["counter"] < start_at + size:
            continue
        there = proc_mem(stacks.pid, start_at, size) if size else b""
        different = sum(a != b for a, b in zip(data, there, strict=True)) if data != there else 0
        assert different < 4096, hex(start_at)
        read += size
    assert read > 30 << 20


def test_a_stack_that_changes_all_the_time_is_named_and_one_that_rests_is_not(
    served: Served,
) -> None:
    with start("scribbled") as target:

        def is_unsettled(address: int) -> bool:
            core = core_of(served, target.pid, "?consistent=4")
            told = last_note(io.BytesIO(core), len(core)).unsettled
            return any(in_stack(core, each, address) for each in told)

        # Who writes to it may have no processor for as long as four readings take.
        until(lambda: is_unsettled(target["scribbled"]), "it is seen to change")
        target.command("rest")
        until(lambda: not is_unsettled(target["scribbled"]), "it is seen to rest")
        assert is_unsettled(target["large"]), "two readings of it are too large"
        core = core_of(served, target.pid, "?consistent=4")
        assert byte_at(core, target["large"], 6 << 20) == b"\x5a" * (6 << 20)
        words = byte_at(core, target["scribbled"], 512)
        assert words == proc_mem(target.pid, target["scribbled"], 512)
        core = core_of(served, target.pid)
        assert last_note(io.BytesIO(core), len(core)).unsettled == ()


def in_stack(core: bytes, first: int, address: int) -> bool:
    """Whether the segment that begins with ``first`` has ``address``."""
    sizes = {each["p_vaddr"]: each["p_filesz"] for each in loads(core)}
    return bool(first <= address < first + sizes[first])


def byte_at(core: bytes, address: int, length: int) -> bytes:
    for each in loads(core):
        offset = address - each["p_vaddr"]
        if 0 <= offset < each["p_filesz"]:
            data: bytes = each.data()[offset : offset + length]
            return data
    raise AssertionError(hex(address))


def vdso(pid: int) -> int:
    """Where the kernel's code in a process begins."""
    (line,) = re.findall(r"^(\w+)-.*\[vdso\]$", Path(f"/proc/{pid}/maps").read_text(), re.MULTILINE)
    return int(line, 16)


def test_what_the_kernel_leaves_out_is_left_out(served: Served, stacks: Target) -> None:
    by_address = {each["p_vaddr"]: each for each in loads(core_of(served, stacks.pid))}
    sizes = {address: each["p_filesz"] for address, each in by_address.items()}
    assert sizes[stacks["left_out"]] == 0
    assert by_address[stacks["left_out"]]["p_memsz"] == PAGE
    assert sizes[stacks["reserved"]] == 0  # 100 GiB of zeros
    assert sizes[stacks["untouched"]] == 2 * PAGE  # up to the last page that was touched
    assert list(by_address) == sorted(by_address)
    everything = {
        each["p_vaddr"]: each["p_filesz"]
        for each in loads(core_of(served, stacks.pid, "?filter=63"))
    }
    assert sum(everything.values()) > sum(sizes.values()) + (1 << 20)
    nothing = loads(core_of(served, stacks.pid, "?filter=0"))
    assert [each["p_vaddr"] for each in nothing if each["p_filesz"]] == [vdso(stacks.pid)]


def test_the_mappings_are_those_of_the_process(served: Served, stacks: Target) -> None:
    target = served.register(stacks.pid)
    maps = served.request("GET", f"/v1/targets/{target}/maps").json["mappings"]
    shown = {
        (int(each["start"], 16), int(each["end"], 16) - int(each["start"], 16))
        for each in maps
        if not each["path"].startswith(("[vvar", "[vsyscall"))
    }
    core = core_of(served, stacks.pid)
    assert {(each["p_vaddr"], each["p_memsz"]) for each in loads(core)} == shown
    files = next(
        note["n_desc"]
        for segment in ELFFile(io.BytesIO(core)).iter_segments("PT_NOTE")
        for note in segment.iter_notes()
        if note["n_type"] == "NT_FILE"
    )
    assert {(each["vm_start"], each["vm_end"]) for each in files["Elf_Nt_File_Entry"]} == {
        (int(each["start"], 16), int(each["end"], 16)) for each in maps if each["path"][:1] == "/"
    }


def present(pid: int) -> dict[int, str]:
    """The pages that are in the page table, each with its mapping; giants are left out."""
    found: dict[int, str] = {}
    with open(f"/proc/{pid}/pagemap", "rb") as file:  # noqa: PTH123 - one of /proc
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            first, last = (int(each, 16) for each in line.split()[0].split("-"))
            if last - first > 1 << 30 or first >> 63:
                continue
            file.seek(first // PAGE * 8)
            entries = struct.iter_unpack("=Q", file.read((last - first) // PAGE * 8))
            found |= {first + PAGE * at: line for at, (each,) in enumerate(entries) if each >> 63}
    return found


def test_nothing_is_brought_into_memory_for_it(served: Served) -> None:
    """But a page of zeros of each mapping that has some (docs/nowait.md), and [vdso]."""
    with start("stacks", 0) as target:
        target.kill(signal.SIGSTOP)
        until(lambda: state_of(target.pid) == "T", "it is stopped")
        before = present(target.pid)
        core_of(served, target.pid)
        new = [line for at, line in present(target.pid).items() if at not in before]
        of_files = [line for line in new if "/" in line]
        assert not of_files
        assert len(new) == len(set(new))


def test_a_hundred_threads_and_five_thousand_mappings_are_all_there() -> None:
    """To look at them takes a second where the machine is busy."""
    with (
        open_folder() as folder,
        Served(folder) as service,
        start("stacks", 100, 5000) as target,
    ):
        core = core_of(service, target.pid)
        assert len(loads(core)) > 5000
        notes = [
            note
            for segment in ELFFile(io.BytesIO(core)).iter_segments("PT_NOTE")
            for note in segment.iter_notes()
        ]
        assert sum(note["n_type"] == "NT_PRSTATUS" for note in notes) == 102


def test_a_process_that_hangs_in_a_page_fault_has_one_in_time(
    served: Served, tmp_path: Path
) -> None:
    mountpoint = tmp_path / "fuse"
    mountpoint.mkdir()
    with FuseServer(mountpoint) as server:
        server.hang(0)
        path = f"/proc/{server.target.pid}/root{mountpoint}/file0"
        code = f"import mmap, os; m = mmap.mmap(os.open({path!r}, 0), 4096, prot=1); "
        code += "print(flush=True); m[0]"
        with subprocess.Popen(["python3", "-c", code], stdout=subprocess.PIPE) as process:
            try:
                assert process.stdout is not None
                process.stdout.readline()  # or it could be a disk that it waits for
                until(lambda: state_of(process.pid) == "D", "it hangs")
                began = time.monotonic()
                core = core_of(served, process.pid)
                until(lambda: state_of(process.pid) == "D", "it hangs still")
                assert time.monotonic() - began < 60  # or it would have waited for the page
                assert last_note(io.BytesIO(core), len(core)).data > 1 << 20
            finally:
                server.serve(0)
                process.kill()


def test_it_is_the_same_in_every_coding(served: Served) -> None:
    with start("stacks", 0) as target:
        target.kill(signal.SIGSTOP)
        until(lambda: state_of(target.pid) == "T", "it is stopped")
        path = f"/v1/targets/{served.register(target.pid)}/core"
        plain = served.request("GET", path).body
        for coding, decode in (
            ("gzip", gzip.decompress),
            ("zstd", lambda body: zstandard.ZstdDecompressor().decompressobj().decompress(body)),
        ):
            reply = served.request("GET", path, headers={"Accept-Encoding": coding})
            assert reply.headers["content-encoding"] == coding
            decoded = decode(reply.body)
            assert len(reply.body) < len(plain) // 10
            segments = zip(loads(plain), loads(decoded), strict=True)
            assert all(one.data() == other.data() for one, other in segments)
        head = served.request("HEAD", path)
        assert (head.body, head.headers["content-length"]) == (b"", str(len(plain)))


def test_bad_parameters_are_named(served: Served) -> None:
    with start("plain") as target:
        path = f"/v1/targets/{served.register(target.pid)}/core"
        for query, place in (("filter=128", "filter"), ("filter=x", "filter"), ("mode=m", "mode")):
            reply = served.request("GET", f"{path}?{query}")
            assert (reply.status, reply.places) == (422, [place])
        other = served.request("GET", f"{path}?generation=7")
        assert (other.status, other.slug) == (409, "target-changed")


def test_a_client_that_leaves_takes_nothing_with_it(served: Served) -> None:
    with start("stacks", 8) as target:
        path = f"/v1/targets/{served.register(target.pid)}/core"
        for _ in range(8):
            connection = UnixConnection(served.path)
            connection.request("GET", path)
            connection.getresponse().read(1 << 16)
            connection.close()
        until(
            lambda: served.request("GET", "/v1/info").json["held_bytes"] == 0,
            "all bytes are given back",
        )


def test_a_program_that_was_replaced_ends_it_early(served: Served) -> None:
    with start("changing") as target, start("stacks", 8):
        path = f"/v1/targets/{served.register(target.pid)}/core?generation=1"
        assert served.request("GET", path).status == 200
        target.send(f"become /proc/{target.pid}/exe 7")
        target.await_ready()
        assert served.request("GET", path).slug == "target-changed"


def test_a_program_of_32_bits_is_refused_by_name(served: Served) -> None:
    with start_32_bits() as target:
        reply = served.request("GET", f"/v1/targets/{served.register(target.pid)}/core")
        assert (reply.status, reply.slug) == (501, "unsupported")
        assert "64-bit" in reply.json["detail"]
