"""What reads and writes the memory of targets."""

from __future__ import annotations

from typing import Final

from farpeek_api.http import (
    memory_bodies,
    memory_shapes,
    plan_bodies,
    plan_shapes,
    problem_shapes,
    queries,
    search_bodies,
)
from farpeek_api.http.answers import EVENTS
from farpeek_api.http.bulk import BYTES
from farpeek_api.http.cores import CORE as COREDUMP
from farpeek_api.http.frames import FRAME, IOV
from farpeek_api.http.pieces import PIECES
from farpeek_api.http.searches import LINES
from farpeek_api.operations import examples
from farpeek_api.operations.kinds import ADMITTED, MEANT, NEGOTIATED, PARSED, REACHED, SENT
from farpeek_api.operations.operation import Answer, Body, Operation
from farpeek_api.policy.verbs import Verb

_GROUP: Final = "memory"
_COMMON: Final = (*ADMITTED, *PARSED, *NEGOTIATED)

READV: Final = Operation(
    id="readv",
    method="POST",
    path="/v1/targets/{id}/readv",
    verb=Verb.READ,
    group=_GROUP,
    summary="Read some regions",
    text="The regions are read in the order of the request, each as often as it is named. A "
    "partial read is a result: what was not read is listed in `gaps`, with the reason. The "
    "parameters are for a binary body, which has the regions alone.",
    query=memory_bodies.ReadOptions,
    body=Body(
        memory_bodies.ReadRequest,
        {IOV: "Little-endian u64 pairs: the address and the length of each region."},
    ),
    answers=[
        Answer(
            status=200,
            text="What was read.",
            model=memory_shapes.ReadResult,
            others={
                FRAME: "A big-endian u32 N, N bytes of a `ReadHead` in JSON, then the bytes that "
                "were read (none with `encoding=none`)."
            },
        )
    ],
    problems=(*_COMMON, *SENT, *REACHED, *MEANT),
    examples=[examples.READV, examples.READV_NOWAIT],
)
READV_MANY: Final = Operation(
    id="readv_many",
    method="POST",
    path="/v1/readv",
    verb=Verb.READ,
    group=_GROUP,
    summary="Read many targets",
    text="Up to 4,096 reads. Those of different targets do not wait for one another, and what "
    "stands against one of them is its result.",
    body=Body(memory_bodies.ManyReadsRequest),
    answers=[
        Answer(
            status=200,
            text="What came of each, in the order of the request.",
            model=problem_shapes.ManyReads,
            others={
                FRAME: "A big-endian u32 N, N bytes of `ManyReads` in JSON without `data`, then "
                "the bytes of all that were read, one behind the other."
            },
        )
    ],
    problems=(*_COMMON, *SENT),
    examples=[examples.READV_MANY],
)
PLAN: Final = Operation(
    id="plan",
    method="POST",
    path="/v1/targets/{id}/plan",
    verb=Verb.READ,
    group=_GROUP,
    summary="Follow what memory says, in one request",
    text="Structures, lists, arrays, chains of pointers and texts. Whatever can be read at a time "
    "is read at a time, level by level; nothing that is kept is read twice. What is missing is in "
    "`gaps`, and `stopped` says why there is no more of a list.",
    body=Body(plan_bodies.PlanRequest),
    answers=[
        Answer(
            status=200,
            text="What the steps have found.",
            model=plan_shapes.PlanResult,
            others={
                FRAME: "A big-endian u32 N, N bytes of a `PlanHead` in JSON, then the columns that "
                "it tells of."
            },
        )
    ],
    problems=(*_COMMON, *SENT, *REACHED, *MEANT),
    examples=[examples.PLAN],
)
SEARCH: Final = Operation(
    id="search",
    method="POST",
    path="/v1/targets/{id}/search",
    verb=Verb.SEARCH,
    group=_GROUP,
    summary="Find texts, bytes, numbers, pointers",
    text="Matches come as they are found, `progress` each 0.2 seconds, and `done` at the end: an "
    "answer without it was cut off. Nothing is brought into memory for it, unless that is asked "
    "for with `mode`.",
    body=Body(search_bodies.SearchRequest),
    answers=[
        Answer(
            status=200,
            text="What was found, in the order of the addresses.",
            others={
                LINES: "Lines of JSON, each a `SearchLine`.",
                EVENTS: "The same as Server-Sent Events `match`, `progress` and `done`, whose data "
                "is what the line has under that name.",
            },
            headers=["Farpeek-Generation"],
        )
    ],
    problems=(*_COMMON, *SENT, *REACHED, *MEANT),
    examples=[examples.SEARCH],
)
WRITEV: Final = Operation(
    id="writev",
    method="POST",
    path="/v1/targets/{id}/writev",
    verb=Verb.WRITE,
    group=_GROUP,
    summary="Write some regions",
    text="Only where the service was started with `--allow-writes`. Only what process_vm_writev(2) "
    "may write; all else is a gap. With `expect` nothing is written unless all of those bytes are "
    "there; that is not atomic against the target's own threads.",
    body=Body(memory_bodies.WriteRequest),
    answers=[
        Answer(
            status=200,
            text="What was written, or with `dry_run` what would be.",
            model=memory_shapes.WriteResult,
        )
    ],
    problems=(
        *_COMMON,
        *SENT,
        *REACHED,
        *MEANT,
        "expectation-failed",
        "already-traced",
    ),
    examples=[examples.WRITEV],
)

_RANGE: Final = (*_COMMON, *REACHED, *MEANT, "range-unreadable")
_RANGE_HEADERS: Final = ("Content-Range", "Accept-Ranges", "ETag", "Farpeek-Generation")
_PLANNED: Final = Answer(
    status=206,
    text="The bytes, from FIRST to where reading ends.",
    others={BYTES: "The bytes as they are."},
    headers=_RANGE_HEADERS,
)
_KNOWN: Final = Answer(
    status=304, text="The bytes are those of `If-None-Match`.", headers=_RANGE_HEADERS
)

MEMORY: Final = Operation(
    id="get_memory",
    method="GET",
    path="/v1/targets/{id}/memory",
    verb=Verb.READ,
    group=_GROUP,
    summary="A range of addresses as plain bytes, of any length",
    text="Positions are addresses, in decimal. The range is cut to what is readable from FIRST "
    "on, as `Content-Range` says. A gap that shows only later ends the body early and closes the "
    "connection: ask again from there.",
    query=queries.MemoryQuery,
    headers=["Range", "If-None-Match"],
    answers=[_PLANNED, _KNOWN],
    problems=_RANGE,
    examples=[examples.MEMORY],
)
MEMORY_HEAD: Final = Operation(
    id="head_memory",
    method="HEAD",
    path="/v1/targets/{id}/memory",
    verb=Verb.READ,
    group=_GROUP,
    summary="What a range of addresses would be, without the bytes",
    text="Answers as GET does, without a body.",
    query=queries.MemoryQuery,
    headers=["Range", "If-None-Match"],
    answers=[
        Answer(status=206, text="What is planned.", headers=_RANGE_HEADERS),
        _KNOWN,
    ],
    problems=_RANGE,
)
MEMORY_PIECES: Final = Operation(
    id="get_pieces",
    method="POST",
    path="/v1/targets/{id}/memory",
    verb=Verb.READ,
    group=_GROUP,
    summary="Ranges of addresses in pieces, of any length",
    text="What nobody has touched is one piece of zeros whatever its size, and holes are pieces "
    "with their reason; neither takes bytes of the answer.",
    headers=["Accept-Encoding"],
    body=Body(memory_bodies.PiecesRequest),
    answers=[
        Answer(
            status=200,
            text="All pieces, in the order of the request.",
            others={
                PIECES: "One piece behind the other: a big-endian u32 N, N bytes of a `PieceHead` "
                "in JSON, and the bytes of the piece if it is `data`. The last object is a "
                "`PiecesEnd`; an answer without it was cut off."
            },
            headers=["Farpeek-Generation", "Content-Encoding"],
        )
    ],
    problems=(*_COMMON, *SENT, *REACHED, *MEANT),
    examples=[examples.PIECES],
)
_FILE_HEADERS: Final = (
    "Accept-Ranges",
    "ETag",
    "Farpeek-File-Device",
    "Farpeek-File-Inode",
    "Farpeek-Build-Id",
    "Farpeek-Generation",
)
FILE: Final = Operation(
    id="get_file",
    method="GET",
    path="/v1/targets/{id}/file",
    verb=Verb.FILES,
    group=_GROUP,
    summary="The file behind a mapping",
    text="For symbols, also from another container, and where its name is gone. Only regular files "
    "on filesystems of this machine: others could hang. [vdso] is answered from memory. It is the "
    "file as it is now, which need not be what memory holds.",
    query=queries.FileQuery,
    headers=["Range (file)", "If-Range", "If-None-Match"],
    answers=[
        Answer(
            status=200,
            text="The whole file.",
            others={BYTES: "The bytes as they are."},
            headers=_FILE_HEADERS,
        ),
        Answer(
            status=206,
            text="The range of it.",
            others={BYTES: "The bytes as they are."},
            headers=("Content-Range", *_FILE_HEADERS),
        ),
        Answer(status=304, text="The file is that of `If-None-Match`.", headers=_FILE_HEADERS),
    ],
    problems=(*_COMMON, *REACHED, *MEANT, "no-file", "file-remote", "range-beyond"),
    examples=[examples.FILE],
)
CORE: Final = Operation(
    id="get_core",
    method="GET",
    path="/v1/targets/{id}/core",
    verb=Verb.READ,
    group=_GROUP,
    summary="An ELF core of a process that goes on",
    text="Nothing is stopped and nothing is traced: threads and stacks are read first, then all "
    "else. Of threads that wait in the kernel some registers are known; all others are 0. What "
    "could not be read is zeros, and a note of the name FARPEEK at its end lists it.",
    query=queries.CoreQuery,
    headers=["Accept-Encoding"],
    answers=[
        Answer(
            status=200,
            text="The core.",
            others={COREDUMP: "As core(5) describes."},
            headers=("Farpeek-Core-Size", "Farpeek-Generation", "Content-Encoding"),
        )
    ],
    problems=(*_COMMON, *REACHED, *MEANT),
    examples=[examples.CORE],
)
