"""Beginning a core: in a thread, look at the process, and say where in the file all will be."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from farpeek import machine
from farpeek.cores.layout import lay_out
from farpeek.cores.machines import MACHINES
from farpeek.errors import Unsupported

if TYPE_CHECKING:
    from farpeek.access.core_segments import Surveyor
    from farpeek.cores.layout import Layout
    from farpeek.identity import Process
    from farpeek.model import Mode
    from farpeek.targets.programs import Programs

HEAD_COST: Final = 16 << 20
"""Bytes that the head of a core may take, with what it was made of: 262,144 mappings, half of
which have names, as many threads as there can be."""

_POINTER_BYTES: Final = 8


def begin(  # noqa: PLR0913, PLR0917 - what of whom, by what, until when
    surveyor: Surveyor,
    process: Process,
    programs: Programs,
    mode: Mode,
    wanted: int,
    generation: int | None,
    deadline: float,
) -> tuple[Layout, int | None]:
    """Lay out a core of one program; and its number, None if that is not known.

    ``wanted`` are the bits of coredump_filter (core(5)). Raises what ``Surveyor.survey`` does,
    TargetChanged, and Unsupported for programs that have no core here.
    """
    known = MACHINES.get(machine.NAME or "")
    if known is None:
        raise Unsupported(f"no cores of {machine.NAME} are known here")
    began = time.time()
    survey, number = programs.within_one(
        lambda: surveyor.survey(process, wanted, deadline), generation
    )
    if survey.pointer_size != _POINTER_BYTES:
        raise Unsupported("there are cores of 64-bit programs only")
    said: dict[str, object] = {
        "began": began,
        "mode": mode.value,
        "filter": wanted,
        "generation": number,
        "left_out": survey.left_out,
    }
    return lay_out(survey, programs.current.identity, known, said), number
