"""What a kernel lacks is found by trying, and named: seccomp filters lack it here for real."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from farpeek.access.capabilities import lacking
from farpeek.access.probe import probe
from support.doctoring import answering, refusing

if TYPE_CHECKING:
    from pathlib import Path

FOUND = probe()
OLDEST = replace(
    FOUND,
    flag_pidfd=False,
    flag_nowait=False,
    exit_status=False,
    hangs_up=False,
    asks_for_reaps=True,
    pagemap_scan=False,
    guards=False,
    makes_guards=False,
    madvise=False,
)
P_PIDFD, WILLNEED = 3, 3

_PROBE = """
import json
from dataclasses import asdict
from farpeek.access.probe import probe
from farpeek.errors import Unsupported
try:
    print(json.dumps(asdict(probe())))
except Unsupported as error:
    print(json.dumps({"refused": str(error)}))
"""


def found_where(folder: Path, call: str, code: int, **comparison: int) -> dict[str, Any]:
    """Return what is found where a call gets an errno."""
    rule = answering(call, code, **comparison)
    command = refusing(folder, rule, (sys.executable, "-c", _PROBE))
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_kernel_that_cannot_wait_for_a_pidfd_is_refused_with_the_floor(tmp_path: Path) -> None:
    """As Linux 5.3."""
    found = found_where(tmp_path, "waitid", errno.EINVAL, index=0, value=P_PIDFD)
    assert "needs Linux 5.4 or newer" in found["refused"]
    assert os.uname().release in found["refused"]


def test_advice_that_the_kernel_does_not_know_is_no_prefetch(tmp_path: Path) -> None:
    """As Linux 5.10, which has the call and knows MADV_COLD and MADV_PAGEOUT alone."""
    found = found_where(tmp_path, "process_madvise", errno.EINVAL, index=3, value=WILLNEED)
    assert found["madvise"] is False


@pytest.mark.skipif(not FOUND.madvise, reason="this kernel knows no such advice")
def test_another_call_that_is_refused_changes_nothing_of_that(tmp_path: Path) -> None:
    assert found_where(tmp_path, "cachestat", errno.ENOSYS)["madvise"] is True


def test_a_filter_that_refuses_signal_0_is_named_where_no_pidfd_hangs_up(tmp_path: Path) -> None:
    found = found_where(tmp_path, "pidfd_send_signal", errno.ENOSYS)
    assert found["asks_for_reaps"] is False
    told = replace(OLDEST, asks_for_reaps=False).as_mapping()["reap"]
    assert (told.provided, "pidfd_send_signal is refused" in told.detail) == ("unavailable", True)


def test_what_is_lacking_is_one_line_with_what_is_done_instead() -> None:
    line = lacking(OLDEST.as_mapping())
    assert "\n" not in line
    for part in (
        "nowait: pagemap",
        "exit_status: waitid with WNOWAIT",
        "reap: pidfd_send_signal, by a timer",
        "no guards (no program has guard pages here",
        "no prefetch (process_madvise is missing)",
    ):
        assert part in line
    whole = replace(
        FOUND,
        flag_pidfd=True,
        flag_nowait=True,
        exit_status=True,
        hangs_up=True,
        pagemap=True,
        pagemap_scan=True,
        guards=True,
        madvise=True,
        sys_nice=True,
    )
    assert lacking(whole.as_mapping()) == ""
