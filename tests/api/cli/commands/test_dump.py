"""`farpeek dump` on real processes: what is in the file, progress, and what a failure leaves."""

from __future__ import annotations

import mmap
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from farpeek_api.cli import statuses
from support.commands import Screen, run
from support.ending import ended
from support.sample import Sample
from support.targets import start
from support.waiting import PATIENCE_S, until
from support.wire import Served

if TYPE_CHECKING:
    from collections.abc import Iterator

MIB = 1 << 20
PAGE = mmap.PAGESIZE


@pytest.fixture
def out(folder: Path) -> Path:
    return folder / "out"


@pytest.fixture(scope="module")
def large() -> Iterator[Sample]:
    with Sample(192 * MIB) as process:
        yield process


def _range(process: Sample, offset: int = 0, length: int | None = None) -> str:
    start = process.address + offset
    return f"{start:#x}-{start + (process.size - offset if length is None else length):#x}"


def test_a_range_is_saved_as_it_is(sample: Sample, out: Path) -> None:
    ran = run("dump", sample.pid, _range(sample, 5), "-o", out)
    assert ran.status == statuses.DONE
    assert out.read_bytes() == sample.bytes(5, sample.size - 5)
    assert out.stat().st_mode & 0o777 == 0o600
    assert ran.text.startswith(f"{out}: ")
    assert not ran.error
    assert run("dump", sample.pid, f"{sample.address:#x}+4K", "-o", out).status == statuses.DONE
    assert out.read_bytes() == sample.bytes(0, PAGE)


def test_ranges_go_to_the_output_one_behind_the_other(sample: Sample, folder: Path) -> None:
    words = ["dump", sample.pid, _range(sample, 8192, 100), _range(sample, 0, 50), "-o", "-"]
    ran = run(*words)
    assert (ran.status, ran.error) == (statuses.DONE, "")
    assert ran.output == sample.bytes(0, 50) + sample.bytes(8192, 100)
    cut = run("dump", sample.pid, _range(sample, sample.size - 100, 200), "-o", "-")
    assert cut.output == sample.bytes(sample.size - 100, 100) + bytes(100)
    assert cut.status == statuses.INCOMPLETE
    assert f"100 bytes at {sample.address + sample.size:#x} are missing: no_access" in cut.error
    assert [each.name for each in folder.iterdir()] in ([], ["run"])


def test_memory_that_nobody_has_touched_goes_to_the_output_as_zeros() -> None:
    with start("untouched", "1") as process:
        words = [process.pid, f"{process['sparse']:#x}+{3 * MIB + 5:#x}", "-o", "-"]
        assert run("dump", *words).output == bytes(3 * MIB + 5)


def test_what_cannot_go_to_the_output_is_told_with_the_cure(sample: Sample) -> None:
    words = ["dump", sample.pid, "-o", "-"]
    assert "name a file" in run(*words, "--json").error
    assert "a core has holes" in run(*words, "--core").error
    with Screen(*words) as shown:
        assert shown.finish() == statuses.USAGE
        assert "confuse the terminal" in " ".join(shown.lines)


def test_ranges_are_put_in_order_and_mappings_are_meant_by_name(
    sample: Sample, out: Path, folder: Path
) -> None:
    words = [_range(sample, 8192, 100), _range(sample, 0, 50), _range(sample, 40, 20)]
    ran = run("dump", sample.pid, *words, "-o", out, "--json")
    shown = ran.json
    start = sample.address
    assert shown["ranges"] == [
        [hex(start), hex(start + 60)],
        [hex(start + 8192), hex(start + 8292)],
    ]
    assert (shown["data"], shown["gaps"]) == (160, 0)
    saved = sample.bytes(0, 60) + bytes(8192 - 60) + sample.bytes(8192, 100)
    assert out.read_bytes() == saved
    ran = run("dump", sample.pid, "libc.so.6", "-o", out, "--json")
    assert ran.status == statuses.DONE
    assert out.read_bytes()[:4] == b"\x7fELF"
    assert len(ran.json["ranges"]) >= 1
    assert [each.name for each in folder.iterdir() if each.name != "run"] == ["out"]


def test_a_folder_gets_a_file_of_each_range_of_all_that_can_be_read(folder: Path) -> None:
    with start("plain") as process:
        ran = run("dump", process.pid, "-o", folder)
        assert ran.status == statuses.DONE
        maps = Path(f"/proc/{process.pid}/maps").read_text()
        memory = Path(f"/proc/{process.pid}/mem").open("rb", 0)  # noqa: SIM115 - closed below
        with memory:
            for each in folder.iterdir():
                begin, end = (int(part, 16) for part in each.name.split("-"))
                assert each.read_bytes() == os.pread(memory.fileno(), end - begin, begin)
    assert maps.split("-")[0] in [each.name.split("-")[0] for each in folder.iterdir()]
    assert any(f"{process['marker']:x}" in each.name for each in folder.iterdir())


def test_gaps_are_told_with_their_reasons(sample: Sample, out: Path) -> None:
    words = ["dump", sample.pid, _range(sample, sample.size - 100, 200), "-o", out]
    ran = run(*words)
    assert ran.status == statuses.INCOMPLETE
    assert f"100 bytes at {sample.address + sample.size:#x} are missing: no_access" in ran.error
    assert out.read_bytes() == sample.bytes(sample.size - 100, 100) + bytes(100)
    shown = run(*words, "--json")
    assert shown.json["missing"][0]["reason"] == "no_access"


def test_what_could_not_begin_leaves_nothing_and_takes_nothing_away(
    sample: Sample, out: Path
) -> None:
    gone = run("dump", 1 << 22, "[heap]", "-o", out)
    assert (gone.status, out.exists()) == (statuses.NO_TARGET, False)
    closed = _range(sample, sample.size, 10)
    nothing = run("dump", sample.pid, closed, "-o", out)
    assert (nothing.status, out.exists()) == (statuses.INCOMPLETE, False)
    assert "no_access" in nothing.error
    out.write_text("of before")
    assert run("dump", sample.pid, "[haep]", "-o", out).status == statuses.USAGE
    assert run("dump", 1 << 22, "[heap]", "-o", out).status == statuses.NO_TARGET
    far = run("dump", sample.pid, "0x1000+1", f"{(1 << 63):#x}+1", "-o", out)
    assert far.status == statuses.FAILED
    assert "a folder" in far.error
    assert out.read_text() == "of before"


def test_a_folder_that_is_not_there_is_named(sample: Sample, folder: Path) -> None:
    ran = run("dump", sample.pid, _range(sample), "-o", folder / "none" / "out")
    assert ran.status == statuses.FAILED
    assert ran.error == f"farpeek dump: {folder}/none/out: No such file or directory\n"


def test_what_is_no_file_is_refused_with_the_reason(sample: Sample, out: Path) -> None:
    os.mkfifo(out)  # nobody reads from it
    for path in (out, Path("/dev/null")):
        ran = run("dump", sample.pid, _range(sample), "-o", path)
        assert ran.status == statuses.FAILED
        assert f"{path}: a dump has holes in it" in ran.error


def _has_begun(out: Path) -> None:
    until(lambda: out.exists() and out.stat().st_blocks, "the dump has begun")


def test_it_goes_on_with_a_service_that_was_started_again(
    large: Sample, out: Path, folder: Path
) -> None:
    with Served(folder) as service:
        size = 96 * MIB
        words = ["dump", str(large.pid), _range(large, 0, size), "-o", str(out), "--json"]
        command = [sys.executable, "-m", "farpeek_api", *words, "--url", f"unix:{service.path}"]
        with ended(subprocess.Popen(command, stdout=subprocess.PIPE, text=True)) as dumping:
            _has_begun(out)
            service.end()
            with Served(folder):
                told, _ = dumping.communicate(timeout=PATIENCE_S)
    assert dumping.returncode == statuses.DONE
    assert '"resumed": 1' in told
    with out.open("rb") as file:
        for offset in range(0, size, 16 * MIB):
            assert file.read(16 * MIB) == large.bytes(offset, 16 * MIB)


@pytest.mark.parametrize("columns", [80, 40])
def test_a_terminal_shows_how_far_it_is(large: Sample, out: Path, columns: int) -> None:
    with Screen("dump", large.pid, _range(large), "-o", out, columns=columns) as shown:
        assert shown.finish() == statuses.DONE
    bars = [bar for bar in shown.received.decode().split("\r") if "%" in bar]
    assert bars
    assert all(len(bar.replace("\x1b[K", "")) < columns for bar in bars)
    assert re.match(r" *\d+%  [\d.]+[KMG]/s(  [\d:]+ s? ?left)?", bars[-1])
    assert not any("%" in line for line in shown.lines), "it is wiped at the end"
    assert "192M of data" in "".join(shown.lines)


def test_ctrl_c_leaves_nothing_behind(large: Sample, out: Path, folder: Path) -> None:
    with Served(folder) as service:
        words = ["dump", large.pid, _range(large), "-o", out, "--url", f"unix:{service.path}"]
        with Screen(*words) as shown:
            _has_begun(out)
            service.process.send_signal(signal.SIGSTOP)  # or the dump may be faster
            shown.process.sendintr()
            assert shown.finish() == statuses.INTERRUPTED
    assert not out.exists()


def test_what_came_of_a_target_that_ends_in_the_middle_is_kept(out: Path, folder: Path) -> None:
    with Sample(192 * MIB) as process, Served(folder) as service:
        words = ["dump", process.pid, _range(process), "-o", out, "--url", f"unix:{service.path}"]
        with Screen(*words) as shown:
            _has_begun(out)
            service.process.send_signal(signal.SIGSTOP)
            process.end()
            service.process.send_signal(signal.SIGCONT)
            assert shown.finish() == statuses.NO_TARGET
        told = "".join(shown.lines).replace(" ", "")  # the line is broken somewhere
        assert "haswhatcamebefore:thefirst" in told
        assert "hasexited" in told
        with out.open("rb") as file:
            assert file.read(MIB) == process.bytes(0, MIB)


def test_curl_asks_for_the_same_pieces(sample: Sample, out: Path) -> None:
    ran = run("dump", sample.pid, _range(sample, 0, 8), "-o", out, "--curl")
    assert ran.status == statuses.DONE
    assert not out.exists()
    done = subprocess.run(["sh", "-c", ran.text], check=True, capture_output=True)
    assert sample.bytes(0, 8) in done.stdout


@pytest.mark.parametrize(
    ("words", "cure"),
    [
        (["[haep]"], "did you mean [heap]?"),
        (["libc.so.7"], "did you mean libc.so.6?"),
        (["0x2000-0x1000"], "it has no bytes"),
        (["0x1000-"], "an address is missing"),
        (["0x1000+x"], "the range's length in bytes"),
    ],
)
def test_a_wrong_word_is_refused_with_its_cure(
    sample: Sample, out: Path, words: list[str], cure: str
) -> None:
    ran = run("dump", sample.pid, *words, "-o", out)
    assert ran.status == statuses.USAGE
    assert cure in ran.error
    assert not out.exists()


def test_a_file_has_to_be_named(sample: Sample) -> None:
    ran = run("dump", sample.pid)
    assert ran.status == statuses.USAGE
    assert "--output" in ran.error


def test_a_core_is_saved_and_told_of(out: Path) -> None:
    with start("stacks", 2) as target:
        ran = run("dump", target.pid, "--core", "--mode", "wait", "-o", out)
        assert (ran.status, ran.error) == (statuses.DONE, "")
        assert re.match(rf"{re.escape(str(out))}: \S+ of data in a core of \S+, ", ran.text)
        assert out.read_bytes()[:4] == b"\x7fELF"
        shown = run("dump", target.pid, "--core", "--mode", "wait", "-o", out, "--json").json
        assert (shown["size"], shown["missing"]) == (out.stat().st_size, [])
        asked = run("dump", target.pid, "--core", "-o", out, "--curl")
        assert "/core" in asked.text


def test_a_core_with_a_stack_that_never_rests_says_which(out: Path) -> None:
    with start("scribbled") as target:
        words = ("dump", target.pid, "--core", "--consistent", 3, "-o", out)
        assert "was never twice the same" in run(*words).error, "one is too large to be read twice"
        assert run(*words, "--json").json["unsettled_stacks"]
    refused = run("dump", 1, "--core", "--consistent", 1, "-o", out)
    assert refused.status != statuses.DONE


def test_a_core_takes_no_ranges(sample: Sample, out: Path) -> None:
    ran = run("dump", sample.pid, "[heap]", "--core", "-o", out)
    assert ran.status == statuses.USAGE
    assert "name no ranges" in ran.error
    assert not out.exists()
