"""Cores by the client: a sparse file that is there once it is whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from farpeek_api.client import Client, Core, Interrupted, TargetExited
from farpeek_api.client.cores import last_note
from farpeek_api.client.members import Odd
from support.targets import Target, start

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from support.wire import Served


@pytest.fixture(scope="module")
def stacks() -> Iterator[Target]:
    with start("stacks", 4) as target:
        yield target


def test_a_core_is_saved_with_holes_for_its_owner_alone(
    served: Served, connect: Callable[..., Any], stacks: Target, tmp_path: Path
) -> None:
    path = tmp_path / "core"
    told: list[tuple[int, int]] = []
    target = connect(f"unix:{served.path}").target(stacks.pid)
    core = target.core(path, mode="wait", progress=lambda *how: told.append(how))
    assert isinstance(core, Core)
    assert core.complete
    status = path.stat()
    assert (status.st_size, status.st_mode & 0o777) == (core.size, 0o600)
    assert status.st_blocks * 512 < core.size // 4
    assert told == sorted(told)
    assert {total for _, total in told} == {core.size}
    plain = served.request("GET", f"/v1/targets/{target.id}/core?mode=wait").body
    assert len(plain) == core.size
    assert plain[:64] == path.read_bytes()[:64]
    assert [each.name for each in tmp_path.iterdir()] == ["core"]


def test_what_is_cut_off_leaves_no_file(served: Served, tmp_path: Path) -> None:
    path = tmp_path / "core"
    with start("stacks", 30) as process, Client(f"unix:{served.path}") as client:
        target = client.target(process.pid)

        def kill(*_: object) -> None:
            process.kill()

        with pytest.raises((Interrupted, TargetExited)):
            target.core(path, progress=kill)
        assert list(tmp_path.iterdir()) == []


def test_what_is_no_regular_file_is_refused(served: Served, stacks: Target, tmp_path: Path) -> None:
    with Client(f"unix:{served.path}") as client, pytest.raises(OSError, match="regular file"):
        client.target(stacks.pid).core("/dev/null")
    with Client(f"unix:{served.path}") as client, pytest.raises(OSError, match="No such file"):
        client.target(stacks.pid).core(tmp_path / "nowhere" / "core")


@pytest.mark.parametrize("content", [b"", b"\x7fELF", bytes(100), b"\xff" * 4096])
def test_what_is_no_core_of_farpeek_is_said_to_be_odd(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "core"
    path.write_bytes(content)
    with path.open("rb") as file, pytest.raises(Odd):
        last_note(file, len(content))
