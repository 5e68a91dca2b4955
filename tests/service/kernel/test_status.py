"""What /proc tells of a process is not what the process says of itself."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from farpeek.kernel import pidfd, status, users
from farpeek.kernel.gates import credentials
from support.targets import start

if TYPE_CHECKING:
    from typing import NoReturn


@pytest.mark.parametrize("end", ["\n", "\r", "\x0b", "\x1c", "\x85", "\u2028"])
def test_no_name_forges_a_field(end: str) -> None:
    with start("plain", "--name", f"a{end}Uid:\t1 2 3") as target:
        proc = f"/proc/{target.pid}"
        found = status.fields(proc)
        uids = (os.getuid(), os.geteuid(), os.geteuid(), os.geteuid())
        assert tuple(map(int, found[b"Uid"].split())) == uids
        assert status.field(proc, b"Uid") == found[b"Uid"]
        told = credentials(target.pid)
        assert told is not None
        assert told.uids == uids


def test_a_size_is_told_in_bytes_and_a_field_that_is_not_there_is_none() -> None:
    size = status.size("/proc/self", b"VmRSS")
    assert size is not None
    assert size >= 1 << 20
    assert size % 1024 == 0
    assert status.size("/proc/self", b"VmNothing") is None


def test_a_user_namespace_whose_overflow_uid_is_hidden_has_the_kernels_default(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert users.overflow_uid() == int(Path("/proc/sys/kernel/overflowuid").read_text())
    for hidden in (tmp_path / "not-there", tmp_path):
        monkeypatch.setattr(users, "_OVERFLOW_UID", hidden)
        assert users.overflow_uid() == 65534


def test_a_kernel_that_cannot_wait_for_a_pidfd_tells_no_exit_status(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Before 5.4 waitid(2) does not know P_PIDFD."""

    def refused(*_: object) -> NoReturn:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    with start("plain") as target:
        held = os.pidfd_open(target.pid)
        try:
            target.kill()
            target.await_zombie()
            told = pidfd.exit_status(held)
            assert told is not None
            assert told.signal == "SIGKILL"
            monkeypatch.setattr(os, "waitid", refused)
            assert pidfd.exit_status(held) is None
            monkeypatch.undo()
        finally:
            os.close(held)
