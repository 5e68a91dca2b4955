"""`farpeek write` on a real process: before and after, the question, what cannot be written."""

from __future__ import annotations

import mmap
import subprocess
from typing import TYPE_CHECKING

import pytest

from farpeek_api.cli import statuses
from support.commands import Screen, run
from support.folders import open_folder
from support.reading import proc_mem
from support.targets import Target, start
from support.wire import Served

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PAGE = mmap.PAGESIZE


@pytest.fixture(scope="module")
def writing() -> Iterator[Served]:
    with open_folder() as made, Served(made, "--allow-writes", "--deadline", "1") as service:
        yield service


@pytest.fixture(autouse=True)
def _to_one_that_writes(writing: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FARPEEK_URL", f"unix:{writing.path}")


@pytest.fixture
def written(tmp_path: Path) -> Iterator[Target]:
    with start("written", tmp_path / "file") as made:
        yield made


def _words(process: Target, *more: object, at: int = 0) -> list[object]:
    return ["write", process.pid, hex(process["block"] + at), *more]


def test_bytes_are_written_and_what_was_there_is_shown(written: Target) -> None:
    block = written["block"]
    was = proc_mem(written.pid, block, 16)
    assert was is not None
    ran = run(*_words(written, "--hex", "de ad BE ef", at=8))
    assert ran.status == statuses.DONE
    assert proc_mem(written.pid, block, 16) == was[:8] + b"\xde\xad\xbe\xef" + was[12:]
    assert ran.lines == [
        f"{block + 8:x}  de ad be ef              ....      was {was[8:12].hex(' ')}",
        f"wrote 4 of 4 bytes at {block + 8:#x} of {written.pid} written",
    ]
    assert run(*_words(written, "--text", "héllo")).status == statuses.DONE
    assert proc_mem(written.pid, block, 6) == "héllo".encode()


def test_a_file_is_written_as_it_is(written: Target, tmp_path: Path) -> None:
    data = bytes(range(256)) * 4
    (tmp_path / "data").write_bytes(data)
    ran = run(*_words(written, "--file", tmp_path / "data"))
    assert ran.status == statuses.DONE
    assert proc_mem(written.pid, written["block"], len(data)) == data
    assert "more rows" in ran.text
    missing = run(*_words(written, "--file", tmp_path / "none"))
    assert missing.status == statuses.FAILED
    assert f"{tmp_path}/none: No such file" in missing.error


def test_a_rehearsal_writes_nothing(written: Target) -> None:
    was = proc_mem(written.pid, written["block"], 4)
    ran = run(*_words(written, "--hex", "00112233", "--dry-run"))
    assert ran.status == statuses.DONE
    assert "would write 4 of 4 bytes" in ran.text
    assert proc_mem(written.pid, written["block"], 4) == was


def test_bytes_that_are_not_as_expected_stay(written: Target) -> None:
    was = proc_mem(written.pid, written["block"], 2)
    assert was is not None
    ran = run(*_words(written, "--hex", "0011", "--expect", "ffff"))
    assert ran.status == statuses.FAILED
    assert "not as expected" in ran.error
    assert proc_mem(written.pid, written["block"], 2) == was
    assert run(*_words(written, "--hex", "0011", "--expect", was.hex())).status == statuses.DONE


def test_what_cannot_be_written_is_told_with_its_reason(written: Target) -> None:
    ran = run(*_words(written, "--hex", "00" * 8, at=PAGE - 4))
    assert ran.status == statuses.INCOMPLETE
    assert "wrote 4 of 8 bytes" in ran.text
    assert "4 bytes at" in ran.error
    assert "no_access" in ran.error
    shared = ["write", written.pid, hex(written["shared"]), "--hex", "00"]
    refused = run(*shared)
    assert refused.status == statuses.INCOMPLETE
    assert "shared" in refused.error
    assert run(*shared, "--allow-shared").status == statuses.DONE


def test_json_is_what_the_service_says(written: Target) -> None:
    ran = run(*_words(written, "--hex", "00", "--json"))
    assert (ran.json["written"], ran.json["verified"]) == (1, True)


def test_curl_writes_the_same(written: Target) -> None:
    ran = run(*_words(written, "--hex", "c0ffee", "--curl"))
    assert proc_mem(written.pid, written["block"], 3) != b"\xc0\xff\xee"
    subprocess.run(["sh", "-c", ran.text], check=True, capture_output=True)
    assert proc_mem(written.pid, written["block"], 3) == b"\xc0\xff\xee"


@pytest.mark.parametrize("columns", [80, 40])
@pytest.mark.parametrize(("answer", "status"), [("y", 0), ("", 1), ("no", 1)])
def test_a_terminal_is_asked_first(written: Target, columns: int, answer: str, status: int) -> None:
    block = written["block"]
    was = proc_mem(written.pid, block, 2)
    assert was is not None
    new = bytes(255 - each for each in was)
    with Screen(*_words(written, "--hex", new.hex()), columns=columns) as shown:
        shown.expect(r"\[y/N\] ")
        assert proc_mem(written.pid, block, 2) == was
        assert f"was {was.hex(' ')}" in "\n".join(shown.lines)
        assert shown.colour(new.hex(" ")) == "brown"
        assert max(map(len, shown.lines)) <= columns
        shown.process.sendline(answer)
        assert shown.finish() == status
    assert proc_mem(written.pid, block, 2) == (new if answer == "y" else was)
    assert ("nothing was written" in "\n".join(shown.lines)) == (answer != "y")


def test_a_terminal_is_not_asked_with_yes(written: Target) -> None:
    with Screen(*_words(written, "--hex", "dead", "--yes")) as shown:
        assert shown.finish() == statuses.DONE
    assert proc_mem(written.pid, written["block"], 2) == b"\xde\xad"


def test_ctrl_c_at_the_question_writes_nothing(written: Target) -> None:
    was = proc_mem(written.pid, written["block"], 2)
    with Screen(*_words(written, "--hex", "dead")) as shown:
        shown.expect(r"\[y/N\] ")
        shown.process.sendintr()
        assert shown.finish() == statuses.INTERRUPTED
    assert proc_mem(written.pid, written["block"], 2) == was


def test_a_service_that_does_not_write_says_how_it_would(written: Target, served: Served) -> None:
    ran = run(*_words(written, "--hex", "00", "--url", f"unix:{served.path}"))
    assert ran.status == statuses.NOT_ALLOWED
    assert "--allow-writes" in ran.error


@pytest.mark.parametrize(
    ("words", "cure"),
    [
        ([], "--hex"),
        (["--hex", "xyz"], "'xyz' is no bytes"),
        (["--hex", ""], "is no bytes"),
        (["--hex", "0"], "pairs of hexadecimal digits"),
        (["--text", ""], "nothing to write"),
        (["--hex", "00", "--text", "x"], "not allowed with"),
        (["--hex", "0011", "--expect", "00"], "--expect has 1 bytes, and 2 are written"),
    ],
)
def test_a_wrong_word_is_refused_with_its_cure(
    written: Target, words: list[str], cure: str
) -> None:
    ran = run(*_words(written, *words))
    assert ran.status == statuses.USAGE
    assert cure in ran.error
    assert ran.error.count("\n") == 1
