"""What a read may ask for, and what it takes."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from farpeek import regions
from farpeek.errors import TooLarge
from farpeek.kernel import uapi
from farpeek.model import PAGE_SIZE

if TYPE_CHECKING:
    from farpeek.access import Access
    from farpeek.counts import Counts
    from farpeek.identity import Process
    from farpeek.model import Limits, ReadResult, ReadSpec
    from farpeek.targets.programs import Programs

GAP_COST: Final = 480
"""Bytes that a gap may take, measured by the growth of a service that answers with 65,536."""

LIGHT: Final = 64 << 10
"""What a read may cost that takes some microseconds: several of those can be done one behind the
other, unnoticed."""


def size(spec: ReadSpec, limits: Limits) -> int:
    """Answer the bytes of a read; InvalidRequest or TooLarge if it cannot be."""
    count = len(spec.regions.addresses)
    if count > limits.max_regions:
        raise TooLarge(f"{count} regions; one request may have {limits.max_regions}")
    asked = regions.check(spec.regions)
    most = min(limits.max_request_bytes, uapi.MAX_RW_COUNT)
    if asked > most:
        raise TooLarge(f"{asked} bytes; one answer may carry {most} (--max-request-bytes)")
    return asked


def cost(size: int, regions: int) -> int:
    """Answer the bytes that a read of ``size`` bytes may take at once, the worst that may come.

    That is what is read, where, and a gap for each region and for each second page, as a value and
    as the text of the answer.
    """
    return size + GAP_COST * (regions + size // (2 * PAGE_SIZE))


def is_light(spec: ReadSpec) -> bool:
    """Whether it costs so little."""
    lengths = spec.regions.lengths
    return len(lengths) <= LIGHT // GAP_COST and cost(sum(lengths), len(lengths)) <= LIGHT


def read(
    access: Access,
    process: Process,
    programs: Programs,
    spec: ReadSpec,
    deadline: float,
    counts: Counts,
) -> ReadResult:
    """In a thread: read what is all of one program; see ``Access.read``.

    Raises TargetChanged if that is not the program that ``spec`` means.
    """
    program = programs.current
    result = None
    if spec.generation in (None, program.number) and not program.is_doubted:
        result = access.read_quickly(process, spec, program)
    if result is not None:
        result.generation = program.number
    else:
        result = _read(access, process, programs, spec, deadline)
    counts.add_read(spec.mode, result.read, result.gaps)
    return result


def _read(
    access: Access, process: Process, programs: Programs, spec: ReadSpec, deadline: float
) -> ReadResult:
    act = partial(access.read, process, spec, deadline)
    result, generation = programs.within_one(act, spec.generation)
    result.generation = generation
    return result
