"""Whose a process is at this moment, whatever was known of it."""

from __future__ import annotations

import os

import pytest

from farpeek.kernel import uapi
from farpeek.targets import processes
from support.targets import start


@pytest.mark.parametrize("tells_by_pidfd", [True, False])
def test_a_change_of_user_is_seen_at_once(
    tells_by_pidfd: bool,  # noqa: FBT001 - before Linux 6.13 a pidfd does not tell
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if not tells_by_pidfd:
        monkeypatch.setattr(uapi, "pidfd_euid", lambda _pidfd: None)
    with start("changing") as target:
        process, known = processes.hold(target.pid)
        try:
            assert processes.uid_now(process) == os.geteuid()
            assert processes.is_as_known(process, known)
            assert target.command("setuid 4711") == "ok"
            assert processes.uid_now(process) == 4711
            assert not processes.is_as_known(process, known)
            assert processes.look_again(process, known).uid == 4711
            target.kill()
            target.reap()
            assert processes.uid_now(process) is None
            assert processes.look_again(process, known) is known
        finally:
            os.close(process.pidfd)


def test_a_change_of_name_is_seen_at_once() -> None:
    with start("changing") as target:
        process, known = processes.hold(target.pid)
        try:
            assert target.command("rename other") == "ok"
            assert not processes.is_as_known(process, known)
            assert processes.look_again(process, known).comm == "other"
        finally:
            os.close(process.pidfd)
