"""Lists of mappings over HTTP: where they begin, where they are cut, what else they tell."""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from farpeek.access import listing
from farpeek.model import MapsPage, MapsSpec
from farpeek_api.http import maps as maps_out
from support.in_process import in_process
from support.targets import Target, build, start
from support.wire import Served, UnixConnection, ask

if TYPE_CHECKING:
    from collections.abc import Iterator

    from farpeek.memory import MemoryService
    from support.wire import Served


@pytest.fixture(scope="module")
def maps(served: Served) -> Iterator[str]:
    with start("plain") as target:
        yield f"/v1/targets/{served.register(target.pid)}/maps"


def test_a_list_begins_where_it_is_told_to(served: Served, maps: str) -> None:
    every = served.request("GET", maps).json
    assert set(every) == {"mappings"}
    for number, mapping in enumerate(every["mappings"]):
        rest = served.request("GET", f"{maps}?from={mapping['end']}").json["mappings"]
        assert rest == every["mappings"][number + 1 :]
        (one,) = served.request("GET", f"{maps}?address={mapping['start']}").json["mappings"]
        assert one == mapping


def test_flags_are_those_of_smaps_and_only_told_if_asked_for(served: Served, maps: str) -> None:
    plain = served.request("GET", maps).json["mappings"]
    assert not any("vm_flags" in mapping for mapping in plain)
    for mapping in served.request("GET", f"{maps}?flags=true&mode=wait").json["mappings"]:
        if mapping["path"] != "[vsyscall]":
            assert ("rd" in mapping["vm_flags"]) == mapping["perms"].startswith("r")


def test_a_path_that_ends_so_has_a_word_whether_it_was_deleted(
    served: Served, tmp_path: Path
) -> None:
    program = Path(shutil.copy(build("plain"), tmp_path / "program"))
    with Target("plain", program=program) as target:
        path = f"/v1/targets/{served.register(target.pid)}/maps"
        plain = served.request("GET", path).json["mappings"]
        assert not any("deleted" in each for each in plain)
        program.unlink()
        shown = served.request("GET", path).json["mappings"]
        found = {each["path"]: each["deleted"] for each in shown if "deleted" in each}
        assert list(found) == [f"{program} (deleted)"]
        assert found[f"{program} (deleted)"] is (True if os.geteuid() == 0 else None)


@pytest.mark.parametrize(
    ("query", "place"),
    [
        ("from=0x10&address=0x10", ""),
        ("from=-1", "from"),
        ("from=0x1ffffffffffffffff", "from"),
        ("mode=perhaps", "mode"),
        ("flags=2", "flags"),
    ],
)
def test_what_makes_no_sense_is_refused(served: Served, maps: str, query: str, place: str) -> None:
    refused = served.request("GET", f"{maps}?{query}")
    assert refused.status == 422
    assert place in str(refused.json["errors"])


async def test_a_long_list_is_cut_with_a_word_and_goes_on_from_there(
    monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    monkeypatch.setattr(maps_out, "MOST", 5)
    monkeypatch.setattr(maps_out.render, "AT_ONCE", 2)
    monkeypatch.setattr(listing, "_MOST_VIEWS", 3)
    with start("plain") as target:
        async with in_process(folder) as (path, service):
            target_id = (await service.register(target.pid))[0].id
            every = [view.start for page in await _pages(service, target_id) for view in page.views]
            seen: list[int] = []
            begin: str | None = "0x0"
            while begin is not None:
                url = f"/v1/targets/{target_id}/maps?from={begin}"
                answer = (await asyncio.to_thread(ask, UnixConnection(path), "GET", url)).json
                seen += [int(each["start"], 16) for each in answer["mappings"]]
                begin = answer.get("next")
                assert answer.get("truncated", False) is (begin is not None)
                assert len(answer["mappings"]) == 5 or begin is None
            assert seen == every


async def _pages(service: MemoryService, target_id: str) -> list[MapsPage]:
    pages = [await service.maps(target_id)]
    while (begin := pages[-1].next) is not None:
        pages.append(await service.maps(target_id, MapsSpec(begin)))
    return pages
