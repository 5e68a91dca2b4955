"""The notes of a core. Each has its reader: what happens without one was tried.

Without NT_PRSTATUS there are no threads; without NT_PRPSINFO eu-stack takes it for no ELF file;
without NT_AUXV gdb and lldb leave programs at the wrong place, and drgn refuses; without NT_FILE
drgn finds no symbols.
"""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Final

from farpeek.kernel import names
from farpeek.model import PAGE_SIZE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from farpeek.access.core_segments import Segment, Survey
    from farpeek.cores.machines import Machine
    from farpeek.identity import Identity
    from farpeek.kernel.tasks import TaskView

_HEAD: Final = struct.Struct("=III")
_PRPSINFO: Final = struct.Struct("=4B4xQIIiiii16s80s")
_NT_PRSTATUS, _NT_PRPSINFO, _NT_AUXV = 1, 3, 6
_NT_SIGINFO, _NT_FILE = 0x53494749, 0x46494C45
NT_FIRST: Final = 0x46504B31
"""Ours, of the name FARPEEK: how it was looked at, and what is known of which thread."""
NT_LAST: Final = 0x46504B32
"""Ours, behind all segments: what could not be read, and when what was."""

_OURS: Final = b"FARPEEK"
_SIGINFO_BYTES: Final = 128
_STATES: Final = "RSDTZW"  # fill_psinfo of fs/binfmt_elf.c
_MOST_FILES: Final = 65_536
_LINE_BYTES: Final = 80


def note(name: bytes, kind: int, content: bytes) -> bytes:
    """One note; name and content are padded to four bytes each."""
    return _HEAD.pack(len(name) + 1, len(content), kind) + _padded(name + b"\0") + _padded(content)


def all_of(survey: Survey, identity: Identity, machine: Machine, said: dict[str, object]) -> bytes:
    """All but the last: the first thread's, the process's, and the other threads'."""
    known = [(task, machine.known(task.registers)) for task in survey.tasks]
    threads = [
        note(b"CORE", _NT_PRSTATUS, machine.prstatus(task.tid, identity.ppid, identity.pid, each))
        for task, each in known
    ]
    return b"".join(
        [
            *threads[:1],
            note(b"CORE", _NT_PRPSINFO, _prpsinfo(survey, identity)),
            note(b"CORE", _NT_SIGINFO, bytes(_SIGINFO_BYTES)),
            note(b"CORE", _NT_AUXV, _auxv(survey.auxv)),
            note(b"CORE", _NT_FILE, _files(survey.segments)),
            *threads[1:],
            note(_OURS, NT_FIRST, _text({**said, "threads": [_told(*each) for each in known]})),
        ]
    )


def last(size: int, said: dict[str, object], gaps: Sequence[tuple[int, int, str]]) -> bytes:
    """The last note, of exactly ``size`` bytes; as many gaps as there is room for."""
    room = size - len(note(_OURS, NT_LAST, b""))
    shown = [[hex(start), length, reason] for start, length, reason in gaps]
    while True:
        content = _text({**said, "gaps": shown, "gaps_left_out": len(gaps) - len(shown)})
        if len(content) <= room:
            return note(_OURS, NT_LAST, content.ljust(room, b" "))
        shown = shown[: len(shown) * 3 // 4]


def _told(task: TaskView, known: Mapping[str, int]) -> dict[str, object]:
    return {
        "tid": task.tid,
        "comm": names.shown(task.comm),
        "state": task.state,
        "running": task.running,
        "known": sorted(known),
    }


def _text(said: dict[str, object]) -> bytes:
    return json.dumps(said, separators=(",", ":")).encode("ascii")


def _prpsinfo(survey: Survey, identity: Identity) -> bytes:
    state = survey.tasks[0].state if survey.tasks else "R"
    number = _STATES.find(state) if state in _STATES else 0
    line = (identity.cmdline or b"").replace(b"\0", b" ")[: _LINE_BYTES - 1]
    name = survey.tasks[0].comm if survey.tasks else b""
    return _PRPSINFO.pack(
        number,
        ord(state[:1] or "R"),
        state == "Z",
        0,
        0,
        identity.uid,
        identity.gid,
        identity.pid,
        identity.ppid,
        identity.pid,
        identity.pid,
        name[:15],
        line,
    )


def _auxv(vector: Mapping[int, int]) -> bytes:
    pairs = [*vector.items(), (0, 0)]
    return b"".join(struct.pack("=QQ", kind, value) for kind, value in pairs)


def _files(segments: Sequence[Segment]) -> bytes:
    """Of each mapping of a file: where it is, and its offset in pages; then all their names."""
    mapped = [each.mapping for each in segments if each.mapping.path.startswith(b"/")][:_MOST_FILES]
    places = [
        struct.pack("=QQQ", each.start, each.end, each.offset // PAGE_SIZE) for each in mapped
    ]
    paths = [each.path + b"\0" for each in mapped]
    return b"".join([struct.pack("=QQ", len(mapped), PAGE_SIZE), *places, *paths])


def _padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % 4)
