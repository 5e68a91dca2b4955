"""What is tried on a machine: ``python -m platforms.checks [NAME ...]`` tells of each in a line.

A line begins with `MARK` and is JSON: the check's name, whether it went well, and what the table of
docs/platforms.md shows of it. The exit status is 1 if any did not.
"""

from __future__ import annotations

import base64
import contextlib
import json
import platform
import subprocess
import sys
import traceback
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

from farpeek.access.probe import probe
from support import kind_reads, tagged
from support.expectations import ROWS, Way
from support.folders import open_folder
from support.kinds import PAGE, page_kinds
from support.reading import proc_mem
from support.sample import Sample
from support.targets import start
from support.waiting import until
from support.wire import Events, Served

if TYPE_CHECKING:
    from collections.abc import Callable

MARK: Final = "@@ "
_DEMO_S: Final = 900
"""On an emulated processor that others want, too."""

Shown = str | dict[str, str]


class Here:
    """A folder, and one service for all checks that want one: to start it takes longest."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self.folder = stack.enter_context(open_folder())

    @cached_property
    def served(self) -> Served:
        """A service that may write."""
        return self._stack.enter_context(Served(self.folder, "--allow-writes"))


def demo(_here: Here) -> Shown:
    """The main job, from start to end."""
    done = subprocess.run(
        [sys.executable, "-m", "farpeek_api", "demo"],
        capture_output=True,
        text=True,
        timeout=_DEMO_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "event: reaped" in done.stdout
    return "yes"


def capabilities(here: Here) -> Shown:
    """How each thing is done here, by its name in /v1/info."""
    found = here.served.request("GET", "/v1/info").json["capabilities"]
    return {
        name: each["technique"] if each["provided"] != "unavailable" else "-"
        for name, each in found.items()
    }


def kinds(here: Here) -> Shown:
    """Each kind of page gives what docs/nowait.md says, by reads that wait and by others."""
    wrong: dict[str, str] = {}
    count = 0
    with page_kinds(here.folder) as made, kind_reads.process_of(made) as process:
        for way in (Way.WAIT, Way.EMULATED):
            access = way.access(probe())
            assert access is not None
            with kind_reads.hung_server(made):
                for name in kind_reads.readable(made, way):
                    kind_reads.rearm(made, name)
                    result, _ = kind_reads.read(access, process, [(made.page(name), PAGE)])
                    came = kind_reads.outcome(made, name, result)
                    count += 1
                    if came not in ROWS[name].by(way):
                        wrong[f"{name}, {way}"] = came
    assert not wrong, wrong
    return f"all {len(made.names)} that it has"


def maps(here: Here) -> Shown:
    """All mappings as the kernel lists them; each has the build id of its file."""
    served = here.served
    with Sample() as sample:
        target = served.register(sample.pid)
        shown = served.request("GET", f"/v1/targets/{target}/maps").json["mappings"]
        listed = [line.split() for line in _lines(f"/proc/{sample.pid}/maps")]
        bounds = [(*(int(each, 16) for each in line[0].split("-")), line[1]) for line in listed]
        assert bounds == [
            (int(each["start"], 16), int(each["end"], 16), each["perms"]) for each in shown
        ]
        ids: dict[str, set[str | None]] = {}
        for each in shown:
            if ".so" in each["path"] or "python" in each["path"]:
                query = f"/v1/targets/{target}/maps?address={each['start']}"
                (found,) = served.request("GET", query).json["mappings"]
                ids.setdefault(each["path"], set()).update((each["build_id"], found["build_id"]))
    assert ids
    assert all(len(each) == 1 and None not in each for each in ids.values()), ids
    return "yes"


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines()


def write(here: Here) -> Shown:
    """A write arrives, and nobody traces the target behind it."""
    data = (99).to_bytes(8, "little")
    served = here.served
    with start("plain", "--marker", 7) as target:
        name = served.register(target.pid)
        for mode in ("nowait", "wait"):
            body = {
                "addresses": [hex(target["marker"])],
                "data": [base64.b64encode(data).decode()],
                "mode": mode,
            }
            shown = served.request("POST", f"/v1/targets/{name}/writev", body).json
            assert shown["written"] == 8, shown
            assert shown["verified"], shown
        assert proc_mem(target.pid, target["marker"], 8) == data
        assert "TracerPid:\t0\n" in Path(f"/proc/{target.pid}/status").read_text()
    return str(shown["backend"]["pidfd"])


def exits(here: Here) -> Shown:
    """An exit is told, and the reap; by then the pidfd is given back."""
    served = here.served
    until(lambda: not _pidfds(served.process.pid), "the other checks' are given back")
    with start("family") as parent, Events(served.path) as events:
        served.register(parent["child"])
        parent.command("end 7")
        told = [events.next()[1] for _ in range(2)]
        parent.command("reap")
        _, kind, data = events.next()
        assert [*told, kind] == ["registered", "exited", "reaped"]
        until(lambda: not _pidfds(served.process.pid), "the pidfd is given back")
    return "with its status" if data["target"]["exit"] else "yes"


def _pidfds(pid: int) -> list[str]:
    names = []
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            names.append(str(entry.readlink()))
    return [name for name in names if "pidfd" in name]


def tags(here: Here) -> Shown:
    """A pointer with a tag goes over every route, and no thread goes on by itself behind it."""
    if platform.machine() != "aarch64":
        return "-"
    served = here.served
    with Sample() as sample:
        name = served.register(sample.pid)
        for tag in tagged.TAGS:
            for route in tagged.ROUTES:
                route(tagged.Place(served, name, sample, tag))
        until(lambda: not _busy(served), "no thread is at work any more")
    return "yes"


def _busy(served: Served) -> int:
    return int(served.request("GET", "/v1/info").json["threads"]["busy"])


CHECKS: Final[dict[str, Callable[[Here], Shown]]] = {
    each.__name__: each for each in (demo, capabilities, kinds, maps, write, exits, tags)
}


def main(wanted: list[str]) -> int:
    """See the module's docstring."""
    failed = False
    with ExitStack() as stack:
        here = Here(stack)
        for name in wanted or CHECKS:
            try:
                shown, well = CHECKS[name](here), True
            except Exception:  # noqa: BLE001 - the next one is tried all the same
                shown, well = traceback.format_exc(), False
            failed |= not well
            line = json.dumps({"check": name, "well": well, "shown": shown})
            sys.stdout.write(f"{MARK}{line}\n")
            sys.stdout.flush()
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
