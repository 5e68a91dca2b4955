"""Values of the service -> plain objects, as the wire shows them."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from pydantic_core import to_json

from farpeek.identity import TargetState
from farpeek.kernel import names
from farpeek.model import PAGE_SIZE, GapReason
from farpeek.targets import cmdlines
from farpeek_api.http.turns import turn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from farpeek.identity import Event, ExitStatus, Identity, ListedProcess, TargetSnapshot
    from farpeek.kernel.tasks import Registers, TaskView
    from farpeek.mappings.mapping import Mapping as TargetMapping
    from farpeek.model import (
        Backend,
        Capability,
        Difference,
        Gap,
        MappingView,
        Prefetch,
        ServiceState,
        StuckThreads,
    )
    from farpeek.targets.matches import StandingMatch
    from farpeek_api.http import memory_shapes, service_shapes, target_shapes

T = TypeVar("T")

AT_ONCE: Final = 64
"""Items that are rendered without a turn of their own."""

SLICE: Final = 512
"""Items that are rendered before other requests get their turn: 2 ms at most."""


def time(seconds: float) -> str:
    """Write seconds since the epoch as RFC 3339, UTC, in milliseconds."""
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def exact_time(seconds: float) -> str:
    """Do the same in microseconds; a third of the time, because each frame of a stream has two."""
    whole = int(seconds)
    return f"{_second(whole)}.{int((seconds - whole) * 1_000_000):06d}Z"


@lru_cache(maxsize=4)
def _second(whole: int) -> str:
    return datetime.fromtimestamp(whole, UTC).isoformat().removesuffix("+00:00")


def _identity(identity: Identity) -> target_shapes.Identity:
    return {
        "pid": identity.pid,
        "ns_pids": identity.ns_pids,
        "start_time": time(identity.start_time),
        "comm": identity.comm,
        "exe": identity.exe,
        "exe_deleted": identity.exe_deleted,
        "uid": identity.uid,
        "gid": identity.gid,
        "cgroup": identity.cgroup,
        "container": identity.container,
    }


def process(listed: ListedProcess) -> target_shapes.Process:
    """Show a process, and its target's id where it is one."""
    return {
        **_identity(listed.identity),
        "resident_bytes": listed.identity.resident_bytes,
        "target": listed.target,
    }


def _exit(status: ExitStatus) -> target_shapes.ExitStatus:
    return {"code": status.code, "signal": status.signal, "core_dumped": status.core_dumped}


def _arguments(identity: Identity) -> tuple[str, ...] | None:
    return None if identity.cmdline is None else cmdlines.split(identity.cmdline)


_STATES: Final = {TargetState.EXITED: "zombie", TargetState.REAPED: None}
"""What a process is that has exited, whatever it was when it was looked at."""


def target(snapshot: TargetSnapshot, client: str) -> target_shapes.Target:
    """Show a target to a client, with the labels that it has given it."""
    return {
        "id": snapshot.id,
        **_identity(snapshot.identity),
        "ppid": snapshot.identity.ppid,
        "cmdline": _arguments(snapshot.identity),
        "process_state": _STATES.get(snapshot.state, snapshot.identity.process_state),
        "pointer_size": snapshot.identity.pointer_size,
        "byte_order": snapshot.identity.byte_order,
        "generation": snapshot.generation,
        "page_size": snapshot.page_size,
        "address_bits": snapshot.address_bits,
        "state": snapshot.state,
        "registered_at": time(snapshot.registered_at),
        "exited_at": None if snapshot.exited_at is None else time(snapshot.exited_at),
        "exit": None if snapshot.exit is None else _exit(snapshot.exit),
        "labels": dict(snapshot.claim_of(client).labels),
    }


def event(happened: Event, client: str) -> target_shapes.TargetEvent:
    """Show what an event's ``data`` holds for a client."""
    shown: target_shapes.TargetEvent = {
        "at": time(happened.at),
        "target": target(happened.target, client),
    }
    match = happened.target.claim_of(client).match
    if match is not None:
        shown["match"] = match
    return shown


def standing_match(match: StandingMatch) -> target_shapes.StandingMatch:
    """Show a standing match."""
    wanted = {name: value for name, value in asdict(match.match).items() if value is not None}
    return {
        "id": match.id,
        "match": cast("target_shapes.Selector", wanted),
        "labels": dict(match.labels),
        "limit": match.limit,
        "created_at": time(match.created_at),
        "held": len(match.running),
        "refused": len(match.refused),
    }


def gap(missing: Gap) -> memory_shapes.Gap:
    """Show bytes that were not read."""
    return {
        "region": missing.region,
        "offset": missing.offset,
        "address": hex(missing.address),
        "length": missing.length,
        "reason": missing.reason,
        "retryable": missing.reason.retryable,
    }


_REASONS: Final = {
    reason: to_json({"reason": reason, "retryable": reason.retryable})[1:-1] for reason in GapReason
}


def gaps(missing: Iterable[Gap]) -> bytes:
    """Write the same for many, as the inside of a JSON array, in a quarter of the time."""
    return b",".join(
        [
            b'{"region":%d,"offset":%d,"address":"0x%x","length":%d,%b}'
            % (each.region, each.offset, each.address, each.length, _REASONS[each.reason])
            for each in missing
        ]
    )


def difference(found: Difference) -> memory_shapes.Difference:
    """Show a byte that is not as expected; ``found`` is null where it could not be read."""
    return {
        "region": found.region,
        "offset": found.offset,
        "address": hex(found.address),
        "expected": f"{found.expected:02x}",
        "found": None if found.found is None else f"{found.found:02x}",
    }


def written_mapping(found: MappingView) -> memory_shapes.WrittenMapping:
    """Show a mapping that would be written to, and whether others would see it."""
    shown: memory_shapes.WrittenMapping = {
        **_place(found, found.path),
        "shared": found.perms.endswith("s"),
    }
    _count(shown, found)
    return shown


def searched_mapping(found: TargetMapping) -> target_shapes.MappingPlace:
    """Show the mapping that a match is in."""
    return _place(found, names.shown(found.path))


def mapping(found: MappingView) -> target_shapes.MemoryMapping:
    """Show a mapping; what was not asked for is left out."""
    shown = cast(
        "target_shapes.MemoryMapping", {**_place(found, found.path), "build_id": found.build_id}
    )
    if found.path.endswith(" (deleted)"):
        shown["deleted"] = found.deleted
    if found.build_id_reason is not None:
        shown["build_id_reason"] = found.build_id_reason
    _count(shown, found)
    return shown


def _place(found: MappingView | TargetMapping, path: str) -> target_shapes.MappingPlace:
    return {
        "start": hex(found.start),
        "end": hex(found.end),
        "perms": found.perms,
        "offset": found.offset,
        "device": f"{found.device[0]:x}:{found.device[1]:x}",
        "inode": found.inode,
        "path": path,
    }


def _count(shown: target_shapes.MappingPlace, found: MappingView) -> None:
    if found.flags is not None:
        shown["vm_flags"] = found.flags
    if found.resident is not None:
        shown["resident_pages"] = found.resident // PAGE_SIZE
        shown["swapped_pages"] = (found.swapped or 0) // PAGE_SIZE


def thread(found: TaskView) -> target_shapes.Thread:
    """Show a thread, and what is known of its registers."""
    return {
        "tid": found.tid,
        "comm": names.shown(found.comm),
        "state": found.state,
        "running": found.running,
        "registers": None if found.registers is None else _registers(found.registers),
        "wchan": found.wchan,
        "cpu_ns": found.cpu_ns,
    }


def _registers(known: Registers) -> target_shapes.Registers:
    arguments = known.arguments
    return {
        "pc": hex(known.pc),
        "sp": hex(known.sp),
        "syscall": known.syscall,
        "arguments": None if arguments is None else [hex(each) for each in arguments],
    }


def backend(used: Backend) -> memory_shapes.Backend:
    """Show how a read was done."""
    if used.nowait is None:
        return {"pidfd": used.pidfd, "rung": used.rung}
    return {"pidfd": used.pidfd, "nowait": used.nowait, "rung": used.rung}


def prefetch(begun: Prefetch) -> memory_shapes.Prefetch:
    """Show what came of the wish to have missing bytes read in."""
    return {"started": begun.started, "bytes": begun.length, "detail": begun.detail}


def capability(found: Capability) -> service_shapes.Capability:
    """Show what the service can do here, and how."""
    return {
        "provided": found.provided,
        "technique": found.technique,
        "detail": found.detail,
    }


def _stuck(threads: StuckThreads) -> service_shapes.StuckThreads:
    return {
        "target": threads.target,
        "mode": threads.mode,
        "threads": threads.threads,
        "since": time(threads.since),
    }


def state(now: ServiceState) -> dict[str, Any]:
    """Show the moving parts of ``/v1/info``."""
    threads = now.threads
    return {
        "threads": {"busy": threads.busy, "idle": threads.idle, "stuck": threads.stuck},
        "targets": {"running": now.running, "exited": now.exited},
        "held_bytes": now.held_bytes,
        "stuck": [_stuck(each) for each in now.stuck],
    }


def objects(show: Callable[[T], Mapping[str, object]]) -> Callable[[Sequence[T]], bytes]:
    """Give what writes many as the inside of a JSON array."""
    return lambda items: to_json([show(each) for each in items])[1:-1]


async def array(items: Sequence[T], write: Callable[[Sequence[T]], bytes]) -> bytes:
    """Render a JSON array; a long one slice by slice, so that nobody else waits for it.

    ``write`` gives the inside of the array for some of the items.
    """
    if len(items) <= AT_ONCE:
        return b"[%b]" % write(items)
    starts = range(0, len(items), SLICE)
    pieces = [await turn(partial(write, items[start : start + SLICE])) for start in starts]
    return b"[" + b",".join(pieces) + b"]"
