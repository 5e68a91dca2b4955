"""`farpeek read` on real processes: every format, values, gaps, what goes wrong."""

from __future__ import annotations

import base64
import json
import mmap
import os
import shutil
import stat
import struct
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from farpeek_api.cli import statuses
from support.commands import Screen, run, screen
from support.sample import Sample
from support.targets import start

if TYPE_CHECKING:
    from pathlib import Path

_PAGE = mmap.PAGESIZE


def _at(sample: Sample, offset: int = 0) -> str:
    return hex(sample.address + offset)


def _closed(sample: Sample) -> int:
    return sample.address + sample.size


def test_bytes_are_shown_as_a_hex_dump(sample: Sample) -> None:
    ran = run("read", sample.pid, _at(sample), 32)
    assert ran.status == statuses.DONE
    assert ran.lines[1] == (
        f"{sample.address + 16:x}  10 11 12 13 14 15 16 17  18 19 1a 1b 1c 1d 1e 1f  " + "." * 16
    )


def test_each_format_has_the_same_bytes(sample: Sample) -> None:
    wanted = sample.bytes(3, 1000)
    words = ["read", sample.pid, _at(sample, 3), 1000, "--format"]
    assert run(*words, "raw").output == wanted
    assert run(*words, "hex").text == wanted.hex() + "\n"
    assert base64.b64decode(run(*words, "json").json["data"]) == wanted
    found: dict[str, bytes] = {}
    exec(run(*words, "python").text, found)  # noqa: S102 - it is Python
    assert found["data"] == wanted


@pytest.mark.skipif(shutil.which("gcc") is None, reason="a C compiler is needed")
def test_the_c_format_compiles_to_the_same_bytes(sample: Sample, tmp_path: Path) -> None:
    text = run("read", sample.pid, _at(sample), 500, "--format", "c").text
    main = "#include <stdio.h>\nint main(void) { return !fwrite(data, sizeof data, 1, stdout); }\n"
    (tmp_path / "x.c").write_text(text + main)
    subprocess.run(["gcc", "-o", tmp_path / "x", tmp_path / "x.c"], check=True)
    done = subprocess.run([tmp_path / "x"], check=True, capture_output=True)
    assert done.stdout == sample.bytes(0, 500)


def test_a_hyphen_is_the_output(
    sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["read", sample.pid, _at(sample, 1), 100, "-o", "-"]
    assert run(*words).output == sample.bytes(1, 100)
    assert run(*words, "--format", "hex").output == run(*words[:4], "--format", "hex").output
    assert list(tmp_path.iterdir()) == []


def test_a_long_read_takes_several_requests_and_is_whole(sample: Sample) -> None:
    size = (3 << 20) + 5
    ran = run("read", sample.pid, _at(sample, 1), size, "--format", "raw")
    assert ran.output == sample.bytes(1, size)
    assert len(run("read", sample.pid, _at(sample, 1), size, "--curl").lines) == 4


@pytest.mark.parametrize("name", ["hexdump", "hex", "raw", "c", "python", "json"])
def test_a_gap_is_status_3_and_is_told(name: str, sample: Sample) -> None:
    ran = run("read", sample.pid, hex(_closed(sample) - 8), 16, "--format", name)
    assert ran.status == statuses.INCOMPLETE
    assert "no_access" in ran.text + ran.error
    assert f"{_closed(sample):x}" in ran.text + ran.error


def test_what_is_not_there_is_told_even_if_nothing_is(sample: Sample) -> None:
    ran = run("read", sample.pid, "0x0", 16)
    assert (ran.status, ran.lines) == (
        statuses.INCOMPLETE,
        ["00000000  -- 16 bytes: unmapped (nothing is mapped there)"],
    )


def test_nowait_leaves_out_what_would_have_to_be_waited_for() -> None:
    with start("uffd") as target:
        ran = run("read", target.pid, hex(target["missing"]), 8, "--mode", "nowait")
        assert ran.status == statuses.INCOMPLETE
        assert "not_resident" in ran.text


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        *[("u8", "B"), ("u16", "H"), ("u32", "I"), ("u64", "Q"), ("i8", "b"), ("i16", "h")],
        *[("i32", "i"), ("i64", "q")],
    ],
)
def test_integers_are_read_in_the_targets_byte_order(kind: str, code: str, sample: Sample) -> None:
    at = 246  # where bytes are above 127, and begin anew
    size = struct.calcsize(code)
    data = sample.bytes(at, 3 * size)
    words = ["read", sample.pid, _at(sample, at), "--type", kind]
    assert run(*words).text == f"{struct.unpack_from('<' + code, data)[0]}\n"
    several = run(*words, "--count", 3)
    little = struct.unpack(f"<3{code}", data)
    addresses = [f"{sample.address + at + number * size:x}" for number in range(3)]
    assert [line.split() for line in several.lines] == [
        [address, str(value)] for address, value in zip(addresses, little, strict=True)
    ]
    assert run(*words, "--count", 3, "--json").json["values"] == [*little]
    big = run(*words, "--count", 3, "--big-endian", "--json").json["values"]
    assert big == [*struct.unpack(f">3{code}", data)]


def test_floats_pointers_and_texts(sample: Sample) -> None:
    def value(kind: str, offset: int = 0) -> str:
        return run("read", sample.pid, _at(sample, offset), "--type", kind).text.rstrip("\n")

    data = sample.bytes(0, 8)
    assert float(value("f64")) == struct.unpack("<d", data)[0]
    assert float(value("f32")) == pytest.approx(struct.unpack("<f", data[:4])[0])
    assert value("pointer") == "0x706050403020100"
    assert value("cstring", 248) == r"\xf8\xf9\xfa"
    many = run("read", sample.pid, _at(sample, 248), "--type", "cstring", "--count", 2)
    assert [line.split("  ")[0] for line in many.lines] == [
        f"{sample.address + 248:x}",
        f"{sample.address + 252:x}",
    ]


def test_a_value_with_a_missing_byte_is_missing(sample: Sample) -> None:
    words = ["read", sample.pid, hex(_closed(sample) - 12), "--type", "u64", "--count", 3]
    ran = run(*words)
    assert ran.status == statuses.INCOMPLETE
    assert [line.split()[1] == "--" for line in ran.lines] == [False, True, True]
    shown = run(*words, "--json").json
    assert shown["values"][1:] == [None, None]
    assert shown["missing"][0] == {"address": hex(_closed(sample) - 4), "reason": "no_access"}


def test_a_file_is_its_owners_alone_and_has_the_bytes(sample: Sample, tmp_path: Path) -> None:
    path = tmp_path / "out"
    assert run("read", sample.pid, _at(sample), 100, "-o", path).status == statuses.DONE
    assert path.read_bytes() == sample.bytes(0, 100)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    run("read", sample.pid, _at(sample), 16, "--format", "hexdump", "-o", path)
    assert path.read_text().startswith(f"{sample.address:x}  00 01")


@pytest.mark.parametrize("word", ["nonsense", "0xffffffffffffffff"])
def test_a_read_that_fails_leaves_no_file_and_touches_none(
    word: str, sample: Sample, tmp_path: Path
) -> None:
    path = tmp_path / "out"
    assert run("read", sample.pid, word, 16, "-o", path).status == statuses.USAGE
    assert not path.exists()
    path.write_text("before")
    assert run("read", sample.pid, word, 16, "-o", path).status == statuses.USAGE
    assert path.read_text() == "before"


def test_a_file_that_cannot_be_written_is_named(sample: Sample, tmp_path: Path) -> None:
    ran = run("read", sample.pid, _at(sample), 16, "-o", tmp_path / "none" / "out")
    assert ran.status == statuses.FAILED
    assert f"{tmp_path}/none/out: No such file or directory" in ran.error
    full = run("read", sample.pid, _at(sample), 16, "-o", "/dev/full")
    assert full.status == statuses.FAILED
    assert "No space left on device" in full.error
    assert os.path.exists("/dev/full")  # noqa: PTH110


@pytest.mark.parametrize(
    ("words", "cure"),
    [
        (["ADDRESS"], "LENGTH is missing"),
        (["ADDRESS", "x"], "'x' is no length"),
        (["ADDRESS", "8", "--type", "u8"], "one word too many"),
        (["ADDRESS", "8", "--count", "2"], "--count goes with --type"),
        (["ADDRESS", "8", "--format", "hexdmp"], "did you mean hexdump?"),
        (["ADDRESS", "--type", "u63"], "did you mean u64?"),
        (["ADDRESS", "8", "--group", "9"], "'9' is no number from 1 to 8"),
        (["ADDRESS", "8", "--group", "2", "--format", "hex"], "--group goes with"),
        (["ADDRESS", "8", "--json", "--format", "hex"], "choose one"),
        (["ADDRESS", "--type", "u8", "--format", "c"], "for values there is --json"),
        (["ADDRESS", "8", "-o", "x", "--json"], "-o is for bytes"),
        (["ADDRESS", "8", "--mode", "nowayt"], "did you mean nowait?"),
        (["0xfffffffffffffff0", "17"], "past 2^64"),
        (["0xfffffffffffffff0", "--type", "u64", "--count", "3"], "past 2^64"),
        (["[heep]", "8"], "did you mean [heap]?"),
        (["0xabcg", "8"], "'0xabcg'"),
    ],
)
def test_wrong_words_are_told_with_their_cure(words: list[str], cure: str, sample: Sample) -> None:
    words = [_at(sample) if word == "ADDRESS" else word for word in words]
    ran = run("read", sample.pid, *words)
    assert ran.status == statuses.USAGE
    assert cure in ran.error
    assert ran.error.count("\n") == 1
    assert not ran.output


def test_a_target_that_is_not_there_or_has_exited_is_status_4() -> None:
    with Sample() as short:
        identity = run("register", short.pid).text.strip()
        assert run("read", identity, _at(short), 8).status == statuses.DONE
        short.exit(3)
        ran = run("read", identity, _at(short), 8)
        assert ran.status == statuses.NO_TARGET
        assert "exited" in ran.error
    assert run("read", "4194304", "0x0", 8).status == statuses.NO_TARGET
    assert run("read", "1-1", "0x0", 8).status == statuses.NO_TARGET
    ran = run("read", "comm=no-such-program", "0x0", 8)
    assert (ran.status, ran.error.count("\n")) == (statuses.NO_TARGET, 1)


def test_an_ambiguous_target_is_status_2_with_the_candidates(sample: Sample) -> None:
    with Sample() as other:
        ran = run("read", "comm=python*", _at(sample), 8)
        assert ran.status == statuses.USAGE
        first, *candidates = ran.error.splitlines()
        assert "'comm=python*' fits" in first
        for each in (sample, other):
            assert any(f"pid {each.pid} " in line for line in candidates)


def test_a_target_is_known_by_what_it_is() -> None:
    with start("plain", "--name", "only-one") as target:
        for word in ("comm=only-one", f"comm=only-*,uid={os.getuid()}", str(target.pid)):
            ran = run("read", word, hex(target["marker"]), "--type", "u8")
            assert ran.status == statuses.DONE
        ran = run("read", "comm=only-two", "0x0", 1)
        assert "did you mean comm=only-one?" in ran.error


def test_a_pasted_curl_command_reads_the_same(sample: Sample) -> None:
    words = ["read", sample.pid, _at(sample, 5), 40]
    shown = run(*words, "--curl").text
    done = subprocess.run(["sh", "-c", shown], check=True, capture_output=True)
    assert base64.b64decode(json.loads(done.stdout)["data"]) == sample.bytes(5, 40)
    raw = run(*words, "--curl", "--format", "raw").text
    done = subprocess.run(["sh", "-c", raw], check=True, capture_output=True)
    assert done.stdout == sample.bytes(5, 40)


def test_a_terminal_shows_classes_in_colours_and_fits(sample: Sample) -> None:
    for columns, rows in ((80, 2), (40, 8)):
        shown = screen("read", sample.pid, _at(sample, 0x40), 32, columns=columns)
        assert shown.status == statuses.DONE
        assert len(shown.lines) == rows
        assert shown.lines[0].startswith(f"{sample.address + 0x40:x}  40 41 42 43")
        assert shown.is_coloured
        assert shown.colour("41 42") == "cyan"
    gaps = screen("read", sample.pid, hex(_closed(sample) - 4), 8)
    assert gaps.status == statuses.INCOMPLETE
    assert gaps.colour("-- 4 bytes") == "red"


def test_no_color_means_none(sample: Sample) -> None:
    words = ["read", sample.pid, _at(sample), 32]
    shown = screen(*words, environment={"NO_COLOR": "1"})
    assert not shown.is_coloured
    assert b"\x1b" not in shown.received
    assert shown.lines == [line.rstrip() for line in run(*words).lines]


def test_no_raw_bytes_go_to_a_terminal(sample: Sample) -> None:
    for words in (["--format", "raw"], ["-o", "/dev/tty"], ["--json", "-o", "/dev/tty"]):
        shown = screen("read", sample.pid, _at(sample), 32, *words)
        assert shown.status == statuses.USAGE
        assert shown.received.isascii()
    shown = screen("read", sample.pid, _at(sample), 32, "--format", "raw")
    assert "raw bytes would confuse the terminal" in "".join(shown.lines)


def test_ctrl_c_in_the_middle_leaves_no_file(sample: Sample, tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    size = 12 << 20
    words = ["read", sample.pid, _at(sample), size, "--format", "hex", "-o", path]
    with Screen(*words) as shown, path.open("rb") as pipe:
        pipe.read(1)
        shown.process.sendintr()
        assert shown.finish() == statuses.INTERRUPTED
    assert path.exists()  # it was there before
    assert not shown.lines or shown.lines == ["^C"]


def test_head_ends_a_long_dump_quietly(sample: Sample) -> None:
    command = f"{sys.executable} -m farpeek_api read {sample.pid} {_at(sample)} 8M | head -n 1"
    done = subprocess.run(
        ["bash", "-c", f"{command}; echo ${{PIPESTATUS[0]}}"], check=True, capture_output=True
    )
    assert done.stderr == b""
    assert done.stdout.splitlines()[-1] == b"141"
