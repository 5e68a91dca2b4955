"""One subscription for all targets of a standing match, those that come later as well."""

from __future__ import annotations

import asyncio
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Final

from pydantic_core import to_json

from farpeek.errors import FarpeekError
from farpeek_api.audit.entry import GONE
from farpeek_api.http import frames, problems
from farpeek_api.http.refusals import Forbidden, Hidden

if TYPE_CHECKING:
    from farpeek_api.stream.frame_writer import FrameWriter
    from farpeek_api.stream.sampling import Ended, Order, Sampler, Subscription

_TOGETHER: Final = 64
"""Targets that are begun with in one turn of the loop: a millisecond."""


class MatchSubscription:
    """Samples each target of a match; see ``Listener``. Lives on the event loop.

    What ends the sampling of one target is told once, and the others go on.
    """

    def __init__(
        self,
        sampler: Sampler,
        order: Order,
        match_id: str,
        writer: FrameWriter,
        ended: Ended,
    ) -> None:
        """Raises NoSuchMatch, TooBusy."""
        self._sampler = sampler
        self._order = order
        self._wanted, sample, self._entry = order
        self._writer = writer
        self._on_end = ended
        self._match = sampler.service.matches.get(match_id, writer.client)
        running = list(self._match.running)
        reach = sampler.reaches.of(writer.client)
        sampler.room.check(reach, len(running), self._wanted.subscribe.hz, sample.regions)
        self._members: dict[str, Subscription] = {}
        self._coming: deque[str] = deque(running)
        self._beginning: asyncio.Handle | None = None
        self._over = False
        sampler.service.matches.follow(self._match, self)
        sampler.trail.begin(self._entry)
        self._begin_soon()

    def joined(self, target_id: str) -> None:
        """See ``Listener``."""
        self._coming.append(target_id)
        self._begin_soon()

    def over(self, reason: FarpeekError) -> None:
        """See ``Listener``."""
        self.end(problems.slug(reason))

    def end(self, reason: str) -> None:
        """Sample no more, and say why."""
        if not self._over:
            self.cancel(reason)
            self._on_end(self._wanted.id, reason)

    def cancel(self, reason: str = GONE) -> None:
        """Sample no more."""
        if self._over:
            return
        self._over = True
        self._sampler.trail.end(self._entry, reason)
        self._sampler.service.matches.unfollow(self._match, self)
        if self._beginning is not None:
            self._beginning.cancel()
        for member in list(self._members.values()):
            member.cancel(reason)
        self._members.clear()

    def _begin_soon(self) -> None:
        if self._beginning is None and self._coming:
            self._beginning = asyncio.get_running_loop().call_soon(self._begin)

    def _begin(self) -> None:
        self._beginning = None
        for _ in range(min(len(self._coming), _TOGETHER)):
            self._begin_with(self._coming.popleft())
        self._begin_soon()

    def _begin_with(self, target_id: str) -> None:
        entry = self._entry.like()  # that of the match tells of the whole
        try:
            self._members[target_id] = self._sampler.subscribe(
                self._order._replace(entry=entry),
                target_id,
                self._writer,
                partial(self._left, target_id),
            )
        except Hidden:
            return  # it is not to be told of at all
        except (FarpeekError, Forbidden) as error:
            self._sampler.trail.end(entry, problems.slug(error))
            self._tell(target_id, problems.slug(error))

    def _left(self, target_id: str, _number: int, reason: str) -> None:
        """See ``Sampler.subscribe``."""
        del self._members[target_id]
        self._tell(target_id, reason)

    def _tell(self, target_id: str, reason: str) -> None:
        told = {"id": self._wanted.id, "target": target_id, "left": reason}
        self._writer.send(frames.message(to_json(told)))
