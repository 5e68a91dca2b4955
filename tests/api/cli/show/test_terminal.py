"""Files that are written: whole, their owner's, or not there."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest

from farpeek_api.cli.show.terminal import saved

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError, ValueError])
def test_what_goes_wrong_in_the_middle_leaves_no_new_file(
    error: type[BaseException], tmp_path: Path
) -> None:
    path = tmp_path / "out"

    def write() -> None:
        with saved(str(path)) as file:
            file.raw(b"some")
            raise error

    with pytest.raises(error):
        write()
    assert not path.exists()


def test_text_and_bytes_are_written_in_their_order(tmp_path: Path) -> None:
    path = tmp_path / "out"
    with saved(str(path)) as file:
        file.texts(["a", "b"])
        file.raw(b"\xff\x00")
        file.line("c")
    assert path.read_bytes() == b"ab\xff\x00c\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_file_has_no_colours_and_any_width(tmp_path: Path) -> None:
    with saved(str(tmp_path / "out")) as file:
        assert (file.colours, file.width, file.paint("x", "31")) == (False, None, "x")
