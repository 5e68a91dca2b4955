"""Requests and their answers, all about one target; a test puts them to a real service.

It puts an id, a process number and an address of its own in the place of these.
"""

from __future__ import annotations

from typing import Any, Final

from farpeek_api.operations.operation import Example

TARGET: Final = "4242-15527285775481835702"
PID: Final = 4242
ADDRESS: Final = 0x7FE3D44B8000
MATCH: Final = "4843eade2170aee4"

_AT: Final = hex(ADDRESS)
CODE: Final = 0x5571D00E0060
_PATH: Final = {"id": TARGET}
_LABELS: Final = {"job": "nightly"}
_IDENTITY: Final[dict[str, Any]] = {
    "pid": PID,
    "ns_pids": [PID, 17],
    "start_time": "2026-06-02T12:22:26.120Z",
    "comm": "ruby",
    "exe": "/usr/bin/ruby3.1",
    "exe_deleted": False,
    "uid": 1000,
    "gid": 1000,
    "cgroup": "/system.slice/app.service",
    "container": None,
}
_TARGET: Final[dict[str, Any]] = {
    "id": TARGET,
    **_IDENTITY,
    "ppid": 1,
    "cmdline": ["ruby", "app.rb"],
    "process_state": "sleeping",
    "pointer_size": 8,
    "byte_order": "little",
    "generation": 1,
    "page_size": 4096,
    "address_bits": 64,
    "state": "running",
    "registered_at": "2026-06-02T12:23:26.120Z",
    "exited_at": None,
    "exit": None,
    "labels": _LABELS,
}
_BY_NUMBER: Final = {"pidfd": "emulated", "rung": "by number, then probe and pidfd"}
_BY_PAGEMAP: Final = {"pidfd": "emulated", "nowait": "emulated", "rung": "PAGEMAP_SCAN + map_files"}
_PINNED: Final = {"pidfd": "pinned", "rung": "pinned by PTRACE_SEIZE"}
_MATCH: Final[dict[str, Any]] = {
    "id": MATCH,
    "match": {"comm": "ruby", "uid": 1000},
    "labels": _LABELS,
    "limit": 1000,
    "created_at": "2026-06-02T12:23:26.120Z",
    "held": 1,
    "refused": 0,
}

TICKET: Final = Example(
    name="A ticket for a stream",
    answer={"ticket": "lSSJ7cTNq_8cSGOSGdHDGYPRoN2cLUaf_XXSDnB4w1U", "expires_in_s": 30},
)
LIVE: Final = Example(name="alive", answer={"status": "ok"})
READY: Final = Example(name="ready", answer={"status": "ready"})

PROCESSES: Final = Example(
    name="by name",
    query={"comm": "ruby*"},
    answer={"processes": [{**_IDENTITY, "resident_bytes": 24_813_568, "target": TARGET}]},
)

REGISTER: Final = Example(
    name="by number", body={"pid": PID, "labels": _LABELS}, status=201, answer=_TARGET
)
REGISTER_ALL: Final = Example(
    name="all that fit",
    body={"match": {"comm": "ruby", "uid": 1000}, "all": True},
    answer={"targets": [_TARGET], "refused": []},
)
TARGETS: Final = Example(
    name="by label", query={"label": "job=nightly"}, answer={"targets": [_TARGET]}
)
GET_TARGET: Final = Example(name="as it is", path=_PATH, answer=_TARGET)
WAIT_FOR_EXIT: Final = Example(
    name="wait for its exit",
    path=_PATH,
    query={"wait": "exit", "timeout_s": 0.5},
    answer=_TARGET,
)
AUXV: Final = Example(
    name="as it is",
    path=_PATH,
    answer={"auxv": {"AT_PAGESZ": "0x1000", "AT_ENTRY": hex(CODE), "AT_UID": "0x3e8"}},
)
THREADS: Final = Example(
    name="one that waits in a call",
    path=_PATH,
    answer={
        "threads": [
            {
                "tid": PID,
                "comm": "ruby",
                "state": "S",
                "running": False,
                "registers": {
                    "pc": "0x7fe3d4a1b69d",
                    "sp": "0x7ffd2c1b0a28",
                    "syscall": 0,
                    "arguments": ["0x0", "0x7ffd2c1b0b10", "0x1000", "0x0", "0x8", "0x0"],
                },
                "wchan": "pipe_read",
                "cpu_ns": 5120834,
            }
        ]
    },
)
MAPS: Final = Example(
    name="from an address on",
    path=_PATH,
    query={"from": _AT, "residency": True},
    answer={
        "mappings": [
            {
                "start": _AT,
                "end": "0x7fe3d45b8000",
                "perms": "rw-p",
                "offset": 0,
                "device": "0:0",
                "inode": 0,
                "path": "",
                "build_id": None,
                "resident_pages": 256,
                "swapped_pages": 0,
            }
        ]
    },
)

READV: Final = Example(
    name="two regions, one of them unmapped",
    path=_PATH,
    body={"addresses": [_AT, "0x1000"], "lengths": [16, 16]},
    answer={
        "target": TARGET,
        "requested": 32,
        "read": 16,
        "complete": False,
        "data": "AAECAwQFBgcICQoLDA0ODwAAAAAAAAAAAAAAAAAAAAA=",
        "gaps": [
            {
                "region": 1,
                "offset": 0,
                "address": "0x1000",
                "length": 16,
                "reason": "unmapped",
                "retryable": False,
            }
        ],
        "backend": _BY_NUMBER,
        "generation": 1,
        "began_ns": 23030681146589,
        "elapsed_us": 195,
    },
)
READV_NOWAIT: Final = Example(
    name="never wait for I/O",
    path=_PATH,
    body={"addresses": [_AT], "lengths": 8, "mode": "nowait", "encoding": "hex"},
    answer={
        "target": TARGET,
        "requested": 8,
        "read": 8,
        "complete": True,
        "data": "0001020304050607",
        "gaps": [],
        "backend": _BY_PAGEMAP,
        "generation": 1,
        "began_ns": 23030684527062,
        "elapsed_us": 262,
    },
)
PLAN: Final = Example(
    name="two elements of an array",
    path=_PATH,
    body={
        "types": {
            "pair": {"size": 8, "fields": {"low": [0, "u32"], "top": [4, "u32", {"bits": [24, 8]}]}}
        },
        "steps": [{"id": "pairs", "array": "pair", "at": _AT, "count": 2, "max": 100}],
    },
    answer={
        "target": TARGET,
        "elapsed_us": 312,
        "steps": {
            "pairs": {
                "count": 2,
                "addresses": [_AT, "0x7fe3d44b8008"],
                "parent": None,
                "columns": {"low": [50462976, 185207048], "top": [7, 15]},
                "stopped": [None],
                "cut": [],
                "inconsistent": [],
            }
        },
        "gaps": [],
        "rounds": 1,
        "reads": 2,
        "bytes": 16,
        "limits": {
            "reads": 4096,
            "bytes": 1048576,
            "rounds": 2048,
            "rows": 16384,
            "timeout_s": 1.0,
        },
        "backend": _BY_NUMBER,
        "generation": 1,
        "began_ns": 23030686969902,
    },
)
SEARCH: Final = Example(
    name="some bytes of one page",
    path=_PATH,
    body={
        "pattern": {"hex": "0a ?? 0c"},
        "ranges": [[_AT, hex(ADDRESS + 4096)]],
        "limit": 2,
    },
)
READV_MANY: Final = Example(
    name="two targets, one of them not there",
    body={
        "reads": [
            {"target": TARGET, "addresses": [_AT], "lengths": 8},
            {"target": "1-1", "addresses": [_AT], "lengths": 8},
        ]
    },
    answer={
        "results": [
            {
                "target": TARGET,
                "requested": 8,
                "read": 8,
                "complete": True,
                "data": "AAECAwQFBgc=",
                "gaps": [],
                "backend": _BY_NUMBER,
                "generation": 1,
                "began_ns": 23030686969902,
                "elapsed_us": 83,
            },
            {
                "problem": {
                    "type": "urn:farpeek:problem:no-such-target",
                    "title": "There is no such target",
                    "status": 404,
                    "detail": "there is no target '1-1'; it may have been released, or exited "
                    "long ago",
                    "retryable": False,
                    "target": "1-1",
                    "request_id": "2ae35189-13",
                }
            },
        ]
    },
)
WRITEV: Final = Example(
    name="only if these bytes are there",
    path=_PATH,
    body={"addresses": [_AT], "data": ["AAEC"], "expect": ["AAEC"], "allow_shared": True},
    answer={
        "target": TARGET,
        "requested": 3,
        "written": 3,
        "complete": True,
        "verified": True,
        "before": "AAEC",
        "gaps": [],
        "backend": _PINNED,
        "elapsed_us": 900,
    },
)
MEMORY: Final = Example(
    name="sixteen bytes",
    path=_PATH,
    headers={"Range": f"bytes={ADDRESS}-{ADDRESS + 15}"},
    status=206,
)
PIECES: Final = Example(
    name="one page",
    path=_PATH,
    body={"ranges": [[_AT, hex(ADDRESS + 4096)]]},
)
CORE: Final = Example(name="what is in memory", path=_PATH)
FILE: Final = Example(
    name="its first 64 bytes",
    path=_PATH,
    query={"address": hex(CODE)},
    headers={"Range": "bytes=0-63"},
    status=206,
)

MATCHES: Final = Example(name="yours", answer={"matches": [_MATCH]})
CREATE_MATCH: Final = Example(
    name="by name and user",
    body={"match": {"comm": "ruby", "uid": 1000}, "labels": _LABELS},
    status=201,
    answer=_MATCH,
)
GET_MATCH: Final = Example(
    name="as it is", path={"id": MATCH}, answer={**_MATCH, "targets": [TARGET]}
)
