"""Every call: what is asked, and what its answer means. Nothing here waits for anything."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Literal, TypeVar, cast
from urllib.parse import quote

from farpeek_api.client import framing, members
from farpeek_api.client.framing import FRAME, IOV
from farpeek_api.client.members import Members, Odd
from farpeek_api.client.problems import BadAnswer, IncompleteRead, Problem, problem_of
from farpeek_api.client.results import (
    FileInfo,
    MappedRegion,
    Process,
    ReadResult,
    StandingMatch,
    TargetInfo,
    Thread,
)
from farpeek_api.client.steps import (
    MIB,
    MOST_JSON,
    SILENCE_S,
    Call,
    Open,
    Reply,
    Request,
    more,
    retry_after_s,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence

    from farpeek_api.client.plans import PlanResult

T = TypeVar("T")
Mode = Literal["wait", "nowait"]
OnGap = Literal["continue", "stop"]

_OK: Final = range(200, 300)
_WHOLE: Final = 200
_LONGEST_PIECE: Final = MIB
_MOST_PAGES: Final = 4096
"""Of a list, against a service that never ends one."""


def ask(request: Request | Open) -> Call[Reply]:
    """Put a request. Raises Problem if it is refused, BadAnswer if what answers is no farpeek."""
    reply = cast("Reply", (yield request))
    if reply.status in _OK:
        return reply
    with answer_of_a_farpeek():
        shown = members.parse(reply.body).all
    wait_s = retry_after_s(reply) if "retry-after" in reply.headers else None
    raise problem_of(shown, wait_s)


@contextmanager
def answer_of_a_farpeek() -> Generator[None, None, None]:
    """Say of an answer that cannot be understood what it may come from."""
    try:
        yield
    except Odd as error:
        raise BadAnswer(f"{error}: it is no farpeek, or one of another version") from None


def get(path: str, query: Mapping[str, object] | None = None) -> Call[Members]:
    """Ask for a JSON object."""
    reply = yield from ask(Request("GET", path, parameters(query or {})))
    with answer_of_a_farpeek():
        return members.parse(reply.body)


def post(path: str, body: Mapping[str, object]) -> Call[Members]:
    """Send a JSON object, and get one."""
    reply = yield from ask(json_request(path, body))
    with answer_of_a_farpeek():
        return members.parse(reply.body)


def json_request(path: str, body: Mapping[str, object], accept: str | None = None) -> Request:
    """Make a request of a JSON object."""
    headers = {"Content-Type": "application/json"}
    if accept is not None:
        headers["Accept"] = accept
    return Request("POST", path, headers=headers, body=json.dumps(given(body)).encode())


def given(values: Mapping[str, object]) -> dict[str, object]:
    """Leave out what is None: the service's defaults hold for it."""
    return {name: value for name, value in values.items() if value is not None}


def parameters(values: Mapping[str, object]) -> dict[str, str]:
    """Write what is given as query parameters."""
    shown = given(values).items()
    return {k: str(v).lower() if isinstance(v, bool) else str(v) for k, v in shown}


def target_path(target: str, rest: str = "") -> str:
    """Give the path of a target, whatever its id has in it."""
    return f"/v1/targets/{quote(target, safe='')}{rest}"


# Targets and processes.


def info() -> Call[Mapping[str, object]]:
    """``GET /v1/info``."""
    return (yield from get("/v1/info")).all


def register(which: Mapping[str, object], labels: Mapping[str, str] | None) -> Call[TargetInfo]:
    """``POST /v1/targets`` for one process."""
    shown = yield from post("/v1/targets", {**which, "labels": labels})
    with answer_of_a_farpeek():
        return TargetInfo.parse(shown)


def register_all(
    match: Mapping[str, object], labels: Mapping[str, str] | None
) -> Call[tuple[list[TargetInfo], list[tuple[int, Problem]]]]:
    """``POST /v1/targets`` for all that fit: those that are targets, and the pids refused."""
    body = {"match": given(match), "all": True, "labels": labels}
    shown = yield from post("/v1/targets", body)
    with answer_of_a_farpeek():
        targets = [TargetInfo.parse(each) for each in shown.objects("targets")]
        refused = shown.objects("refused")
        return targets, [
            (each.number("pid"), problem_of(each.all.get("problem"))) for each in refused
        ]


def which_process(
    process: int | str | None, match: Mapping[str, object], pid_namespace: str | None = None
) -> dict[str, object]:
    """Name a process by number, id or match; ValueError unless it is by one of them."""
    wanted = given(match)
    if (process is None) == (not wanted):
        raise ValueError("give a pid, an id or something to match (comm=, exe=, ...), one of them")
    if process is None:
        return {"match": wanted}
    if isinstance(process, str):
        return {"id": process}
    return {"pid": process, "pid_namespace": pid_namespace}


def target(target_id: str, wait_s: float | None = None) -> Call[TargetInfo]:
    """``GET /v1/targets/{id}``; with ``wait_s``, when it has exited or the time is over."""
    query = parameters({} if wait_s is None else {"wait": "exit", "timeout_s": wait_s})
    silence_s = SILENCE_S + (wait_s or 0)
    reply = yield from ask(Request("GET", target_path(target_id), query, silence_s=silence_s))
    with answer_of_a_farpeek():
        return TargetInfo.parse(members.parse(reply.body))


def release(target_id: str, *, everybody: bool) -> Call[None]:
    """``DELETE /v1/targets/{id}``."""
    query = {"all": "true"} if everybody else {}
    yield from ask(Request("DELETE", target_path(target_id), query))


def listed(
    path: str, name: str, query: Mapping[str, object], parse: Callable[[Members], T]
) -> Call[list[T]]:
    """Get a list, however many answers it takes."""
    found: list[T] = []
    begin: dict[str, object] = {}
    for _ in range(_MOST_PAGES):
        shown = yield from get(path, {**query, **begin})
        with answer_of_a_farpeek():
            found += [parse(each) for each in shown.objects(name)]
            if shown.all.get("truncated") is not True:
                return found
            begin = {"from": shown.all.get("next")}
    raise BadAnswer(f"the list of {name} does not end")


def processes(match: Mapping[str, object]) -> Call[list[Process]]:
    """``GET /v1/processes``."""
    return listed("/v1/processes", "processes", match, Process.parse)


def targets(state: str | None, label: str | None) -> Call[list[TargetInfo]]:
    """``GET /v1/targets``."""
    query = {"state": state, "label": label}
    return listed("/v1/targets", "targets", query, TargetInfo.parse)


def maps(target_id: str, query: Mapping[str, object]) -> Call[list[MappedRegion]]:
    """``GET /v1/targets/{id}/maps``."""
    return listed(target_path(target_id, "/maps"), "mappings", query, MappedRegion.parse)


def auxv(target_id: str) -> Call[dict[str, int]]:
    """``GET /v1/targets/{id}/auxv``."""
    shown = yield from get(target_path(target_id, "/auxv"))
    with answer_of_a_farpeek():
        found = shown.inner("auxv")
        return {name: found.address(name) for name in found.all}


def threads(target_id: str) -> Call[list[Thread]]:
    """``GET /v1/targets/{id}/threads``."""
    return listed(target_path(target_id, "/threads"), "threads", {}, Thread.parse)


def file_info(target_id: str, address: int) -> Call[FileInfo]:
    """``HEAD /v1/targets/{id}/file``."""
    query = {"address": hex(framing.check_address(address))}
    reply = yield from ask(Request("HEAD", target_path(target_id, "/file"), query))
    with answer_of_a_farpeek():
        return FileInfo.parse(reply.headers)


def read_file(
    target_id: str, address: int, offset: int, length: int, version: str | None
) -> Call[bytes]:
    """``GET /v1/targets/{id}/file``, a range of it. ValueError for one that makes no sense."""
    if offset < 0 or length < 0:
        raise ValueError("offset and length are counts of bytes, from 0 on")
    if not length:
        return b""
    query = {"address": hex(framing.check_address(address))}
    headers = {"Range": f"bytes={offset}-{offset + length - 1}"}
    if version is not None:
        headers["If-Range"] = f'"{version}"'
    request = Request("GET", target_path(target_id, "/file"), query, headers, most=MOST_JSON)
    reply = yield from ask(Open(request))
    is_same = version is None or reply.headers.get("etag") == f'"{version}"'
    whole = reply.headers.get("content-length", "") if reply.status == _WHOLE and not offset else ""
    # A range that covers the file is answered by all of it.
    is_all = is_same and whole.isdecimal() and len(whole) < 20 and int(whole) <= length  # noqa: PLR2004 - digits
    if is_all or reply.headers.get("content-range", "").startswith(f"bytes {offset}-"):
        content = bytearray()
        while part := (yield from more()):
            content += part
            if len(content) > length:
                raise BadAnswer("the answer has more bytes than the range")
        return bytes(content)
    if not is_same:
        raise BadAnswer("the file has been changed, or another one is mapped there: look again")
    raise BadAnswer("the answer is not of the range that was asked for")


# Standing matches.


def hold(
    match: Mapping[str, object], labels: Mapping[str, str] | None, limit: int | None
) -> Call[StandingMatch]:
    """``POST /v1/matches``."""
    body = {"match": given(match), "labels": labels, "limit": limit}
    shown = yield from post("/v1/matches", body)
    with answer_of_a_farpeek():
        return StandingMatch.parse(shown)


def match_path(match_id: str) -> str:
    """Give the path of a standing match."""
    return f"/v1/matches/{quote(match_id, safe='')}"


def standing_match(match_id: str) -> Call[StandingMatch]:
    """``GET /v1/matches/{id}``."""
    shown = yield from get(match_path(match_id))
    with answer_of_a_farpeek():
        return StandingMatch.parse(shown)


def drop(match_id: str) -> Call[None]:
    """``DELETE /v1/matches/{id}``."""
    yield from ask(Request("DELETE", match_path(match_id)))


# Reading.


def readv(
    target_id: str, regions: Sequence[tuple[int, int]], options: Mapping[str, object]
) -> Call[ReadResult]:
    """``POST /v1/targets/{id}/readv``, binary both ways."""
    wanted = list(regions)
    request = Request(
        "POST",
        target_path(target_id, "/readv"),
        parameters(options),
        {"Content-Type": IOV, "Accept": FRAME},
        framing.pack_regions(wanted),
        MOST_JSON + sum(length for _, length in wanted),
    )
    reply = yield from ask(request)
    stops = options.get("on_gap") == "stop"
    with answer_of_a_farpeek():
        shown, data = framing.split_frame(reply.body)
        return framing.read_result(shown, bytes(data), wanted, stops=stops)


def plan(
    target_id: str, wanted: Mapping[str, object], options: Mapping[str, object]
) -> Call[PlanResult]:
    """``POST /v1/targets/{id}/plan``, answered in columns."""
    from farpeek_api.client.plans import PlanResult  # noqa: PLC0415 - ctypes, for those who plan

    path = target_path(target_id, "/plan")
    reply = yield from ask(json_request(path, {**wanted, **options}, FRAME))
    with answer_of_a_farpeek():
        return PlanResult.parse(*framing.split_frame(reply.body))


def readv_in_json(
    target_id: str, regions: Sequence[tuple[int, int]], options: Mapping[str, object]
) -> Request:
    """Give the same request as text, for people to see."""
    addresses = [hex(framing.check_address(address)) for address, _ in regions]
    body = {"addresses": addresses, "lengths": [length for _, length in regions], **options}
    return json_request(target_path(target_id, "/readv"), body)


def read(target_id: str, address: int, length: int, options: Mapping[str, object]) -> Call[bytes]:
    """Read one region whole. Raises IncompleteRead."""
    result = yield from readv(target_id, [(address, length)], options)
    if not result.complete:
        raise IncompleteRead(result)
    return result.data


def cstring(
    target: TargetInfo, address: int, limit: int, options: Mapping[str, object]
) -> Call[bytes]:
    """Read up to a NUL. Raises IncompleteRead for a gap before it, ValueError for none."""
    options = {**options, "on_gap": "stop"}
    parts: list[bytes] = []
    size = target.page_size
    at, end = address, address + limit
    while at < end:
        # To a page's end: what lies behind it may be a gap, far from the string.
        length = min(end - at, size - at % target.page_size)
        result = yield from readv(target.id, [(at, length)], options)
        text, nul, _ = result.data.partition(b"\0")
        parts.append(text)
        if nul:
            return b"".join(parts)
        if not result.complete:
            raise IncompleteRead(result)
        options = {"generation": result.generation, **options}
        at += length
        size = min(2 * size, _LONGEST_PIECE)
    raise ValueError(f"there is no NUL in {limit} bytes from {address:#x} on")


def read_many(
    reads: Sequence[tuple[str, Sequence[tuple[int, int]]]], options: Mapping[str, object]
) -> Call[list[ReadResult | Problem]]:
    """``POST /v1/readv``: what came of each, in their order."""
    wanted = [(target_id, list(regions)) for target_id, regions in reads]
    columns = [
        {
            "target": target_id,
            "addresses": [framing.check_address(address) for address, _ in regions],
            "lengths": [length for _, length in regions],
        }
        for target_id, regions in wanted
    ]
    size = sum(length for _, regions in wanted for _, length in regions)
    request = json_request("/v1/readv", {**options, "reads": columns}, FRAME)
    request = Request(
        request.method, request.path, {}, request.headers, request.body, MOST_JSON + size
    )
    reply = yield from ask(request)
    stops = options.get("on_gap") == "stop"
    with answer_of_a_farpeek():
        shown, data = framing.split_frame(reply.body)
        return _results(shown.objects("results"), data, [each for _, each in wanted], stops=stops)


def _results(
    shown: list[Members], data: memoryview, wanted: list[list[tuple[int, int]]], *, stops: bool
) -> list[ReadResult | Problem]:
    if len(shown) != len(wanted):
        raise Odd("the answer has an odd `results`: there are others than were asked for")
    results: list[ReadResult | Problem] = []
    for each, regions in zip(shown, wanted, strict=True):
        if "problem" in each.all:
            results.append(problem_of(each.all["problem"]))
            continue
        length = framing.data_length(each, stops=stops)
        results.append(framing.read_result(each, bytes(data[:length]), regions, stops=stops))
        data = data[length:]
    return results
