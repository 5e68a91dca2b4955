"""`farpeek dump --core`: an ELF core, and what could not be read of it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from farpeek_api.cli import curl, statuses
from farpeek_api.cli.errors import WrongWord
from farpeek_api.cli.show.escape import safe
from farpeek_api.cli.show.progress import Progress
from farpeek_api.cli.show.reasons import explained
from farpeek_api.cli.show.sizes import size
from farpeek_api.client import cores

if TYPE_CHECKING:
    from farpeek_api.cli.session import Session
    from farpeek_api.client import Core, Target

_MOST_TOLD: Final = 8


def run(session: Session, target: Target) -> int:
    """Save a core, and say what came."""
    chosen = session.chosen
    if chosen.what:
        raise WrongWord("a core has what the kernel would put into one: name no ranges")
    if chosen.curl:
        options = {"mode": chosen.mode, "consistent": chosen.consistent}
        session.curl(curl.first_request(cores.core(target.id, chosen.output, options, None)))
        return statuses.DONE
    began = time.monotonic()
    with Progress() as progress:
        core = target.core(
            chosen.output,
            mode=chosen.mode,
            consistent=chosen.consistent,
            progress=progress.tell,
        )
    elapsed_s = time.monotonic() - began
    if chosen.json:
        session.json(_members(session, target, core, elapsed_s))
    else:
        _show(session, core, elapsed_s)
    return statuses.DONE if core.complete else statuses.INCOMPLETE


def _members(session: Session, target: Target, core: Core, elapsed_s: float) -> dict[str, object]:
    return {
        "target": target.id,
        "output": session.chosen.output,
        "size": core.size,
        "data": core.data,
        "missing": [
            {"address": hex(gap.address), "length": gap.length, "reason": gap.reason}
            for gap in core.gaps
        ],
        "missing_left_out": core.gaps_left_out,
        "unsettled_stacks": [hex(each) for each in core.unsettled],
        "elapsed_s": round(elapsed_s, 3),
    }


def _show(session: Session, core: Core, elapsed_s: float) -> None:
    came = f"{size(core.data)} of data in a core of {size(core.size)}, {elapsed_s:.1f} s"
    session.terminal.line(f"{safe(session.chosen.output)}: {came}")
    for start in core.unsettled[:_MOST_TOLD]:
        session.complain(
            f"the stack at {start:#x} was never twice the same: it may not fit together"
        )
    for gap in core.gaps[:_MOST_TOLD]:
        what = f"{gap.length} bytes at {gap.address:#x} are missing"
        session.complain(f"{what}: {explained(gap.reason)}")
    left = len(core.gaps) - _MOST_TOLD + core.gaps_left_out
    if left > 0:
        session.complain(f"there are {left} more of them")
