"""What a request for reads of many targets asks for, with what is the same each time it comes."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final, NamedTuple

from farpeek.errors import FarpeekError
from farpeek_api.http.frames import Simple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from farpeek.model import ReadSpec
    from farpeek_api.http.memory_bodies import ManyReadsRequest

OF_ONE_TARGET: Final = 32
"""Reads of it that are under way: 64 may wait for its threads, of all clients together."""


class Asked(NamedTuple):
    """What a request asks for; many requests may have it."""

    targets: Sequence[str]
    specs: Sequence[ReadSpec]
    timeout_s: float | None
    encoding: str
    size: int  # bytes of them all
    costs: Sequence[int]  # what each may cost; nothing, if it makes no sense
    mistakes: Mapping[int, FarpeekError]  # why one makes none, which is its result
    frequent: Sequence[str]  # targets that have more than `OF_ONE_TARGET`
    simple: Sequence[Simple]  # writes what comes of each


def asked_for(wanted: ManyReadsRequest, cost: Callable[[ReadSpec], int]) -> Asked:
    """Find all that out; ``cost`` is ``MemoryService.cost``."""
    targets, specs = [each.target for each in wanted.reads], wanted.specs()
    costs: list[int] = []
    mistakes: dict[int, FarpeekError] = {}
    for number, spec in enumerate(specs):
        try:
            costs.append(cost(spec))
        except FarpeekError as error:
            costs.append(0)
            mistakes[number] = error.with_traceback(None)  # whose frames hold all of this
    return Asked(
        targets,
        specs,
        wanted.timeout_s,
        wanted.encoding,
        sum([sum(spec.regions.lengths) for spec in specs]),
        costs,
        mistakes,
        _frequent(targets),
        [Simple(target) for target in targets],
    )


def _frequent(targets: Sequence[str]) -> list[str]:
    if len(targets) <= OF_ONE_TARGET:
        return []
    return [target for target, count in Counter(targets).items() if count > OF_ONE_TARGET]
