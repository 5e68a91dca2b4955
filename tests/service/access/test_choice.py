"""The choice between the ways to reach memory, and what answers say of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from farpeek.access import choose
from farpeek.access.checks import CheckAll, CheckRemote
from farpeek.access.probe import probe
from farpeek.access.reader import Reader
from farpeek.model import NowaitCheck

FOUND = probe()


@pytest.mark.parametrize(("has_flag", "named"), [(True, "native"), (False, "emulated")])
def test_answers_say_whether_the_kernel_names_the_process_itself(
    *, has_flag: bool, named: str
) -> None:
    ways = choose(replace(FOUND, flag_pidfd=has_flag))
    assert ways.nowait is not None
    assert {ways.wait.backend.pidfd, ways.nowait.backend.pidfd} == {named}


@pytest.mark.parametrize(("has_flag", "nowait"), [(True, "native"), (False, "emulated")])
def test_answers_say_whether_the_kernel_waits_for_nothing_itself(
    *, has_flag: bool, nowait: str
) -> None:
    ways = choose(replace(FOUND, flag_nowait=has_flag))
    assert ways.nowait is not None
    assert ways.nowait.backend.nowait == nowait


def test_without_page_tables_there_is_no_nowait_and_no_prefetch() -> None:
    blind = replace(FOUND, flag_nowait=False, pagemap=False, pagemap_scan=False, nodes=False)
    ways = choose(blind)
    assert (ways.nowait, ways.prefetcher, ways.write_nowait) == (None, None, None)
    assert ways.write is not None


@pytest.mark.parametrize(
    ("check", "looks"),
    [(NowaitCheck.NEVER, None), (NowaitCheck.AUTO, CheckRemote), (NowaitCheck.ALWAYS, CheckAll)],
)
def test_with_the_flag_residency_is_looked_at_as_far_as_is_set(
    check: NowaitCheck, looks: type | None
) -> None:
    flagged = replace(FOUND, flag_nowait=True, pagemap=True)
    reader = choose(flagged, check).nowait
    assert isinstance(reader, Reader)
    assert type(reader.checker) is (type(None) if looks is None else looks)
