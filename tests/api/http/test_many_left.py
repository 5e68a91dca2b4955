"""Who leaves in the middle of many reads: what it had begun is nobody else's loss."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from farpeek.memory import MemoryService
from farpeek.model import Limits, ReadSpec, Regions
from farpeek_api.http.asked_reads import asked_for
from farpeek_api.http.many import _Reads
from farpeek_api.http.memory_bodies import ManyReadsRequest
from farpeek_api.policy.current import CurrentPolicy
from farpeek_api.policy.guard import Guard
from farpeek_api.policy.reach import Reaches
from support.asking import ask, close
from support.targets import start
from support.waiting import aio_until

if TYPE_CHECKING:
    from farpeek.model import ReadResult


class _Unrecorded:
    is_asked_for = False


async def test_what_came_for_one_who_leaves_is_another_clients_by_then() -> None:
    service = await MemoryService.open(Limits())
    with start("uffd", 1) as hung, start("plain") as target:
        slow, quick = [(await service.register(each.pid))[0].id for each in (hung, target)]
        spec = ReadSpec(Regions([target["marker"]], [8]))
        await ask(service, quick, spec)
        reads = [
            {"target": quick, "addresses": [hex(target["marker"])], "lengths": [8]},
            {"target": slow, "addresses": [hex(hung["missing"])], "lengths": [8]},
        ]
        wanted = ManyReadsRequest.model_validate({"reads": reads})
        reach = Reaches(service, Guard(service, CurrentPolicy())).of("somebody")
        record: Any = _Unrecorded()
        asked = asked_for(wanted, service.cost)
        leaving = _Reads(service, reach, asked, record)
        running = asyncio.ensure_future(leaving.run())
        await aio_until(lambda: leaving.elapsed_us[0], "the quick one is read")
        told: asyncio.Future[ReadResult | BaseException | None] = asyncio.Future()
        with service.lease(spec) as lease, service.gather() as gathered:
            again = service.find(quick)
            assert again is not None
            theirs, cost = asked.specs[0], service.cost(spec)
            gathered.add(again, theirs, cost, lease, lambda _, *came: told.set_result(came[0]))
            running.cancel()
            leaving.close()
        found = await asyncio.wait_for(told, 60)
        assert found is not None
        hung.command("resolve-all")
    await close(service)
