"""A token file that others can read lets nobody in; the own one is gone with the service."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest

from farpeek_api.gate.tokens import OwnTokenFile, TokenError, Tokens, read_tokens

if TYPE_CHECKING:
    from pathlib import Path

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="changes owners")


def write(path: Path, text: str = "secret-token\n", mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


def test_each_line_is_a_token_but_for_comments(tmp_path: Path) -> None:
    tokens = read_tokens(write(tmp_path / "t", "# ours\n\nfirst==\n  second \n#third\n"))
    assert "first==" in tokens
    assert "second" in tokens
    for other in ("", "#third", "third", "# ours", "firs", "first", "FIRST=="):
        assert other not in tokens


def test_a_token_of_odd_characters_is_no_error() -> None:
    assert "\udcff\u2603" not in Tokens(["a"])


@pytest.mark.parametrize("mode", [0o604, 0o602, 0o640, 0o660, 0o620, 0o444])
def test_a_file_that_others_can_read_or_write_is_refused(tmp_path: Path, mode: int) -> None:
    path = write(tmp_path / "t", mode=mode)
    if os.geteuid() == 0:
        os.chown(path, -1, 4242)
    with pytest.raises(TokenError, match="chmod 0600"):
        read_tokens(path)


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_file_of_ours_alone_is_read(tmp_path: Path, mode: int) -> None:
    assert "secret-token" in read_tokens(write(tmp_path / "t", mode=mode))


@needs_root
def test_a_secret_as_kubernetes_mounts_it_is_read(tmp_path: Path) -> None:
    data = tmp_path / "..data"
    data.mkdir()
    path = write(data / "token", mode=0o440)
    os.chown(path, 0, os.getegid())
    (tmp_path / "token").symlink_to("..data/token")
    assert "secret-token" in read_tokens(tmp_path / "token")


@needs_root
@pytest.mark.parametrize(("owner", "group", "mode"), [(0, 4242, 0o440), (0, 0, 0o460)])
def test_a_group_that_is_not_ours_or_may_write_is_refused(
    tmp_path: Path, owner: int, group: int, mode: int
) -> None:
    path = write(tmp_path / "t", mode=mode)
    os.chown(path, owner, group)
    with pytest.raises(TokenError, match="a group can"):
        read_tokens(path)


@needs_root
def test_a_file_of_somebody_else_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "t")
    os.chown(path, 4242, 4242)
    with pytest.raises(TokenError, match="belongs to somebody else"):
        read_tokens(path)


@pytest.mark.parametrize("text", ["", "# nothing\n", "two words\n", "snow\u2603man\n", "a\x00b\n"])
def test_a_file_without_a_good_token_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(TokenError) as caught:
        read_tokens(write(tmp_path / "t", text))
    assert "two words" not in str(caught.value)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(TokenError, match="No such file"):
        read_tokens(tmp_path / "t")


def test_what_is_no_file_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo", 0o600)
    with pytest.raises(TokenError, match="no regular file"):
        read_tokens(tmp_path / "fifo")
    with pytest.raises(TokenError, match="no regular file"):
        read_tokens(tmp_path)


def test_an_own_token_is_ours_alone_and_goes_with_us(tmp_path: Path) -> None:
    own = OwnTokenFile(tmp_path / "run" / "token")
    path = tmp_path / "run" / "token"
    assert stat.S_IMODE(path.lstat().st_mode) == 0o600
    token = path.read_text().strip()
    assert len(token) >= 43
    assert token in own.tokens
    own.close()
    assert not path.exists()


def test_an_own_token_left_by_a_killed_service_is_replaced(tmp_path: Path) -> None:
    killed = OwnTokenFile(tmp_path / "token")
    text = (tmp_path / "token").read_text()
    killed.close()
    write(tmp_path / "token", text)
    own = OwnTokenFile(tmp_path / "token")
    assert text.strip() not in own.tokens
    own.close()
    assert not (tmp_path / "token").exists()


@pytest.mark.parametrize(
    "text", ["ghp_my-only-copy\n", "", "farpeek-short\n", "farpeek-" + "x" * 43]
)
def test_a_file_of_that_name_that_is_not_ours_is_left_alone(tmp_path: Path, text: str) -> None:
    path = write(tmp_path / "token", text)
    inode = path.stat().st_ino
    with pytest.raises(TokenError, match="move it away, or name a file of yours"):
        OwnTokenFile(path)
    assert (path.stat().st_ino, path.read_text()) == (inode, text)


def test_a_second_name_of_an_own_token_is_left_alone(tmp_path: Path) -> None:
    killed = OwnTokenFile(tmp_path / "token")
    (tmp_path / "kept").hardlink_to(tmp_path / "token")
    killed.close()
    (tmp_path / "token").hardlink_to(tmp_path / "kept")
    with pytest.raises(TokenError, match="move it away"):
        OwnTokenFile(tmp_path / "token")


def test_the_token_of_a_living_service_is_left_alone(tmp_path: Path) -> None:
    own = OwnTokenFile(tmp_path / "token")
    before = (tmp_path / "token").read_text()
    with pytest.raises(TokenError, match="another farpeek"):
        OwnTokenFile(tmp_path / "token")
    assert (tmp_path / "token").read_text() == before
    own.close()


def test_a_link_in_place_of_the_own_token_is_not_followed(tmp_path: Path) -> None:
    write(tmp_path / "precious", "precious")
    (tmp_path / "token").symlink_to(tmp_path / "precious")
    with pytest.raises(TokenError, match="cannot write the token file"):
        OwnTokenFile(tmp_path / "token")
    assert (tmp_path / "precious").read_text() == "precious"


def test_somebody_elses_file_in_its_place_is_left_at_the_end(tmp_path: Path) -> None:
    own = OwnTokenFile(tmp_path / "token")
    (tmp_path / "token").unlink()
    write(tmp_path / "token", "another")
    own.close()
    assert (tmp_path / "token").read_text() == "another"
