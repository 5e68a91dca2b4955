"""Under a limit of memory the defaults fit into it, and what a burst took goes back."""

from __future__ import annotations

import contextlib
import json
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from farpeek_api.serving.memory_limit import cgroup_limit, inflight_for, request_for
from farpeek_api.serving.settings import Settings
from support.kinds import memory_group
from support.sample import Sample
from support.waiting import until
from support.wire import Served

if TYPE_CHECKING:
    from collections.abc import Mapping

MIB = 1 << 20
IN_GROUP = 'echo $$ > "$0/cgroup.procs" && exec "$@"'


def tree(folder: Path, cgroup: str, files: Mapping[str, str]) -> int | None:
    root, own = folder / "cgroup", folder / "own"
    own.write_text(cgroup)
    root.mkdir()
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return cgroup_limit(root, own)


@pytest.mark.parametrize(
    ("cgroup", "files", "limit"),
    [
        ("0::/a/b\n", {"a/b/memory.max": "268435456\n"}, 256 * MIB),
        ("0::/a/b\n", {"a/b/memory.max": "max\n", "a/memory.max": "1048576\n"}, MIB),
        ("0::/a/b\n", {"a/b/memory.max": "2097152\n", "a/memory.max": "1048576\n"}, MIB),
        ("0::/\n", {"memory.max": "1048576\n"}, MIB),
        # The path is the host's, and the tree the container's own.
        ("0::/kubepods/x\n", {"memory.max": "1048576\n"}, MIB),
        ("4:memory:/a\n0::/\n", {"memory/a/memory.limit_in_bytes": "1048576\n"}, MIB),
        ("4:cpu,memory:/a\n", {"memory/memory.limit_in_bytes": "1048576\n"}, MIB),
        ("4:memory:/\n", {"memory/memory.limit_in_bytes": "9223372036854771712\n"}, None),
        ("4:cpu:/a\n", {"memory/a/memory.limit_in_bytes": "1048576\n"}, None),
        ("0::/../x\n", {}, None),
        ("nonsense\n", {"memory.max": "1"}, None),
    ],
)
def test_the_lowest_limit_from_the_own_group_upwards_counts(
    tmp_path: Path, cgroup: str, files: Mapping[str, str], limit: int | None
) -> None:
    assert tree(tmp_path, cgroup, files) == limit


def test_what_was_said_is_not_fitted() -> None:
    assert Settings().under(None) == Settings()
    fitted = Settings().under(256 * MIB)
    assert fitted.max_inflight_bytes == inflight_for(256 * MIB, 256 * MIB) == 80 * MIB
    assert fitted.max_request_bytes == request_for(80 * MIB, 16 * MIB) == 16 * MIB
    assert Settings().under(128 * MIB).max_request_bytes == 4 * MIB
    assert Settings().under(1 << 40) == Settings()
    said = Settings(max_inflight_bytes=200 * MIB, max_request_bytes=8 * MIB)
    assert said.under(256 * MIB) == said


def burst(service: Served, target: str, address: int, clients: int = 16) -> list[int]:
    """Have clients read 16 MiB each, at once; their statuses."""
    statuses: list[int] = []

    def read() -> None:
        reply = service.readv(target, addresses=[address], lengths=16 * MIB)
        statuses.append(reply.status)

    threads = [threading.Thread(target=read) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return statuses


def test_clients_that_ask_for_the_most_do_not_get_it_killed(folder: Path) -> None:
    with memory_group() as group, contextlib.ExitStack() as stack:
        if group is None:
            pytest.skip("no memory cgroup can be made here")
        (group / "memory.limit_in_bytes").write_text(str(256 * MIB))
        process = stack.enter_context(Sample(16 * MIB))
        service = stack.enter_context(Served(folder, under=["sh", "-c", IN_GROUP, str(group)]))
        assert "the cgroup allows 256 MiB of memory" in service.log
        limits = service.request("GET", "/v1/info").json["limits"]
        assert limits["max_inflight_bytes"] == 80 * MIB
        target = service.register(process.pid)
        body = json.dumps({"addresses": [process.address], "lengths": 16 * MIB}).encode()
        for _ in range(16):  # who take nothing
            sock = stack.enter_context(service.connect())
            head = f"POST /v1/targets/{target}/readv HTTP/1.1\r\nHost: localhost\r\n"
            kind = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            sock.sendall((head + kind).encode() + body)
        statuses = burst(service, target, process.address)
        assert set(statuses) <= {200, 429}
        assert service.read(target, process.address, 8).status == 200
        assert service.process.poll() is None
        stack.pop_all().close()


def test_what_a_burst_took_goes_back(folder: Path) -> None:
    with Sample(16 * MIB) as process, Served(folder) as service:
        target = service.register(process.pid)
        service.read(target, process.address, 8)
        before = resident_mib(service)
        assert 200 in burst(service, target, process.address)
        until(lambda: resident_mib(service) < before + 20, "what it took is given back")


def resident_mib(service: Served) -> int:
    status = Path(f"/proc/{service.process.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) >> 10
