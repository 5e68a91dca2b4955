"""Page tables seen by move_pages(2), by a service that has CAP_SYS_PTRACE and nothing else."""

from __future__ import annotations

import base64
import errno
import os
from array import array
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from farpeek.access import choose
from farpeek.access.probe import probe
from farpeek.identity import Process
from farpeek.kernel import uapi
from farpeek.kernel.uapi import PAGE_IS_PRESENT
from farpeek.mappings.nodes import NodeResidency
from farpeek.model import Mode, ReadSpec, Regions
from support.expectations import ROWS, Way
from support.folders import open_folder
from support.kind_reads import hung_server, outcome, process_of, read, readable, rearm
from support.kinds import PAGE, page_kinds
from support.serving import Service
from support.targets import start

if TYPE_CHECKING:
    from pathlib import Path

NOBODY = 65534
ALONE = replace(
    probe(), flag_nowait=False, pagemap=False, pagemap_scan=False, guards=False, nodes=True
)
SEES_LESS = {
    "guard": "not_resident",  # looks like a page that may be swapped out
    "untouched": "not_resident",  # the process has something swapped out, and this may be
    "dontneed": "not_resident",
    "uffd_missing": "not_resident",
}


def _kernel_has_nodes() -> bool:
    try:
        uapi.page_nodes(0, array("Q"))
    except OSError as error:
        return error.errno != errno.ENOSYS
    return True


pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="gives up privileges of root's"),
    pytest.mark.skipif(not _kernel_has_nodes(), reason="move_pages(2) takes CONFIG_NUMA"),
]


def test_it_sees_which_pages_are_there() -> None:
    with start("bulk", 4, 1) as target:
        block, sparse = target["block"], target["sparse"]
        look = NodeResidency().look(f"/proc/{target.pid}", [(block, block + 4 * PAGE)])
        assert [(page.start, page.end, page.categories) for page in look] == [
            (block, block + 4 * PAGE, PAGE_IS_PRESENT)
        ]
        look = NodeResidency().look(f"/proc/{target.pid}", [(sparse, sparse + 64 * PAGE)])
        assert [(page.start, page.end, page.categories) for page in look] == [
            (sparse, sparse + 64 * PAGE, 0)
        ]


def test_every_kind_gives_its_bytes_or_a_reason_that_is_no_wrong_promise(tmp_path: Path) -> None:
    access = choose(ALONE).nowait
    assert access is not None
    wrong: dict[str, str] = {}
    with page_kinds(tmp_path) as kinds, hung_server(kinds), process_of(kinds) as process:
        for name in readable(kinds, Way.EMULATED):
            rearm(kinds, name)
            result, _ = read(access, process, [(kinds.page(name), PAGE)])
            came = outcome(kinds, name, result)
            if came not in {SEES_LESS.get(name)} | ROWS[name].by(Way.EMULATED):
                wrong[name] = came
    assert wrong == {}


def test_never_touched_memory_is_zeros_where_nothing_is_swapped_out() -> None:
    access = choose(ALONE).nowait
    assert access is not None
    with start("untouched", 4) as target:
        pidfd = os.pidfd_open(target.pid)
        try:
            places = [target["sparse"] + number * (6 << 20) for number in range(64)]
            spec = ReadSpec(Regions(places, [8] * 64), Mode.NOWAIT)
            result = access.read(Process(target.pid, pidfd), spec, float("inf"))
        finally:
            os.close(pidfd)
    assert list(result.gaps) == []
    assert bytes(result.data) == bytes(8 * 64)


def test_another_users_process_is_read_in_nowait_with_that_capability_alone() -> None:
    flags = ("--uid", NOBODY, "--gid", NOBODY)
    # Of root's own capabilities; its uid opens nothing of another user's by itself.
    without = ("dac_override", "dac_read_search", "sys_admin", "checkpoint_restore")
    with (
        open_folder() as folder,
        Service(folder, without=without) as service,
        start("plain", *flags) as target,
    ):
        nowait = service.request("GET", "/v1/info").json["capabilities"]["nowait"]
        if nowait["provided"] == "native":
            pytest.skip("the kernel has PROCESS_VM_NOWAIT")
        assert "move_pages" in nowait["technique"]
        target_id = service.register(target.pid)
        reply = service.read(target_id, target["marker"], 8, mode="nowait")
        assert reply.status == 200, reply
        assert reply.json["complete"] is True
        waited = service.read(target_id, target["marker"], 8)
        assert base64.b64decode(reply.json["data"]) == base64.b64decode(waited.json["data"])
