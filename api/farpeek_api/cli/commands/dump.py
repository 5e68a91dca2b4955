"""`farpeek dump`: a target's memory, or parts of it, in a sparse file."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from farpeek_api.cli import cores, curl, parsers, statuses
from farpeek_api.cli.errors import CommandError, WrongWord
from farpeek_api.cli.ranges import ranges_of
from farpeek_api.cli.saving import Saving, send
from farpeek_api.cli.show.escape import safe
from farpeek_api.cli.show.progress import Progress
from farpeek_api.cli.show.reasons import explained
from farpeek_api.cli.show.sizes import size
from farpeek_api.cli.show.terminal import check_takes_bytes
from farpeek_api.cli.space import Space
from farpeek_api.client import PeekError, ranges

if TYPE_CHECKING:
    import argparse

    from farpeek_api.cli.saving import Saved
    from farpeek_api.cli.session import Session
    from farpeek_api.client import Target

_MOST_TOLD: Final = 8


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    parsers.target(parser)
    parser.add_argument(
        "what",
        metavar="RANGE|MAPPING",
        nargs="*",
        help="FROM-TO, FROM+LENGTH, or what is mapped: [heap], libc.so.6 (default: all that can "
        "be read)",
    )
    parser.add_argument(
        "--core",
        action="store_true",
        help="an ELF core, which debuggers open, of the process as it goes on (its default mode: "
        "nowait)",
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        required=True,
        help="the file: its offset 0 is the lowest address, and what nobody has touched is a hole; "
        "or a folder that is there, for a file of each range; or - for the standard output, the "
        "ranges one behind the other",
    )
    parser.add_argument(
        "--consistent",
        metavar="N",
        type=int,
        help="of a core: read each stack again until two readings are equal, N times at most (2 to "
        "8)",
    )
    parsers.mode(parser)
    parsers.common(parser)


def run(session: Session) -> int:
    """Dump, and say what came."""
    chosen = session.chosen
    if chosen.output == "-" and not chosen.curl:
        _check_output(session)
    target = session.target()
    if chosen.core:
        return cores.run(session, target)
    wanted = ranges_of(Space(target, chosen.mode), chosen.what)
    if not wanted:
        raise CommandError("there is nothing to dump: no mapping can be read")
    if chosen.curl:
        session.curl(curl.first_request(ranges.pieces(target.id, wanted, {"mode": chosen.mode})))
        return statuses.DONE
    if chosen.output == "-":
        return _send(session, target, wanted)
    saving = Saving(target, wanted, chosen.mode)
    began = time.monotonic()
    try:
        with Progress() as progress:
            saved = saving.run(chosen.output, progress.tell)
    except PeekError:
        if saving.done:
            came = f"{size(saving.done)} of {size(saving.total)}"
            session.complain(f"{chosen.output} has what came before: the first {came}")
        raise
    elapsed_s = time.monotonic() - began
    if chosen.json:
        session.json(_members(session, target, wanted, saved, elapsed_s))
    else:
        _show(session, saved, elapsed_s)
    return statuses.INCOMPLETE if saved.gaps else statuses.DONE


def _check_output(session: Session) -> None:
    """Refuse what cannot be written to the standard output."""
    if session.chosen.core:
        raise WrongWord("a core has holes in it, so that it needs a regular file: name one")
    if session.chosen.json:
        raise WrongWord("-o - and --json both write to the standard output: name a file")
    check_takes_bytes(session.terminal)


def _send(session: Session, target: Target, wanted: list[tuple[int, int]]) -> int:
    """Write memory to the standard output, and tell what is missing."""
    with Progress() as progress:
        sent = send(session.terminal, target, wanted, session.chosen.mode, progress.tell)
    _tell_missing(session, sent)
    return statuses.INCOMPLETE if sent.gaps else statuses.DONE


def _members(
    session: Session,
    target: Target,
    wanted: list[tuple[int, int]],
    saved: Saved,
    elapsed_s: float,
) -> dict[str, object]:
    return {
        "target": target.id,
        "output": session.chosen.output,
        "ranges": [[hex(start), hex(end)] for start, end in wanted],
        "data": saved.data,
        "zeros": saved.zeros,
        "gaps": saved.gaps,
        "missing": [
            {"address": hex(gap.address), "length": gap.length, "reason": gap.reason}
            for gap in saved.gap_pieces
        ],
        "resumed": saved.resumed,
        "elapsed_s": round(elapsed_s, 3),
    }


def _show(session: Session, saved: Saved, elapsed_s: float) -> None:
    if saved.data or saved.zeros:
        session.terminal.line(_summary(session.chosen.output, saved, elapsed_s))
    _tell_missing(session, saved)


def _tell_missing(session: Session, saved: Saved) -> None:
    for gap in saved.gap_pieces[:_MOST_TOLD]:
        what = f"{gap.length} bytes at {gap.address:#x} are missing"
        session.complain(f"{what}: {explained(gap.reason or '')}")
    if len(saved.gap_pieces) > _MOST_TOLD:
        session.complain(f"there are {len(saved.gap_pieces) - _MOST_TOLD} more of them")


def _summary(output: str, saved: Saved, elapsed_s: float) -> str:
    rate = saved.data / elapsed_s if elapsed_s else 0.0
    parts = [f"{size(saved.data)} of data"]
    if saved.zeros:
        parts.append(f"{size(saved.zeros)} untouched")
    if saved.gaps:
        parts.append(f"{size(saved.gaps)} missing")
    if saved.resumed:
        parts.append(f"taken up again {saved.resumed} times")
    parts.append(f"{elapsed_s:.1f} s, {size(round(rate))}/s")
    return f"{safe(output)}: {', '.join(parts)}"
