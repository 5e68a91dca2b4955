"""One table: what went wrong -> status, slug and title of an RFC 9457 problem."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web
from pydantic import ValidationError
from pydantic_core import to_json

from farpeek import errors
from farpeek_api.http import answers, mistakes, refusals, render
from farpeek_api.serving import request_ids

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MOST_CAUSES: Final = 20
"""Mistakes of one request that are told at once."""


MOST_CANDIDATES: Final = 64
"""Processes that fit a match, and are told of; it counts them all."""


@dataclass(frozen=True, slots=True)
class Row:
    """How one kind of error looks from outside."""

    status: int
    slug: str
    title: str


INTERNAL: Final = Row(500, "internal", "Something went wrong in the service")
MALFORMED: Final = Row(400, "malformed", "The request cannot be read")
INVALID: Final = Row(422, "invalid", "The request makes no sense")
UNMET: Final = Row(417, "unsupported-expectation", "The expectation cannot be met")
FORBIDDEN: Final = Row(403, "forbidden", "The request is not allowed")
ABSENT: Final = Row(404, "no-such-target", "There is no such target")
BUSY: Final = Row(429, "too-busy", "The service has too much to do")

TABLE: Final[Mapping[type[Exception], Row]] = {
    errors.InvalidRequest: INVALID,
    errors.AmbiguousNumber: INVALID,
    errors.RangeUnreadable: Row(416, "range-unreadable", "The range cannot be read"),
    errors.TooLarge: Row(413, "too-large", "The request is too large"),
    errors.NoSuchTarget: ABSENT,
    errors.NoFile: Row(404, "no-file", "There is no file behind that address"),
    errors.FileRemote: Row(409, "file-remote", "The file is not one to be opened"),
    errors.NoSuchMatch: Row(404, "no-such-match", "There is no such standing match"),
    errors.NoSuchProcess: Row(404, "no-such-process", "There is no such process"),
    errors.AmbiguousMatch: Row(409, "ambiguous", "Several processes fit"),
    errors.TargetExited: Row(410, "target-exited", "The target has exited"),
    errors.ProcessGone: Row(410, "target-exited", "The process has exited"),
    errors.TargetChanged: Row(409, "target-changed", "The target executes another program"),
    errors.ExpectationFailed: Row(409, "expectation-failed", "Other bytes are there than expected"),
    errors.AlreadyTraced: Row(409, "already-traced", "Another process traces the target"),
    errors.AccessDenied: Row(403, "access-denied", "The kernel refuses access to the target"),
    errors.Unsupported: Row(501, "unsupported", "It cannot be done here"),
    errors.KernelFailure: INTERNAL,
    errors.TooBusy: BUSY,
    errors.TargetStuck: Row(503, "target-stuck", "All threads for this target hang in the kernel"),
    errors.DeadlineExceeded: Row(504, "deadline", "The time is over"),
    errors.ShuttingDown: Row(503, "shutting-down", "The service is stopping"),
    refusals.Malformed: MALFORMED,
    refusals.BadRange: MALFORMED,
    refusals.RangeBeyond: Row(416, "range-beyond", "The range lies behind the end of the file"),
    refusals.Unauthenticated: Row(401, "unauthenticated", "Who you are is not known"),
    refusals.Forbidden: FORBIDDEN,
    refusals.NotPermitted: FORBIDDEN,
    refusals.OptedOut: FORBIDDEN,
    refusals.Hidden: ABSENT,
    refusals.WordUnknown: BUSY,
    refusals.Changing: BUSY,
    refusals.AuditUnavailable: Row(
        503, "audit-unavailable", "What is done cannot be recorded at present"
    ),
    refusals.NotAcceptable: Row(406, "not-acceptable", "There is no such form of the answer"),
    refusals.UnsupportedMediaType: Row(
        415, "unsupported-media-type", "The body is in no known form"
    ),
    refusals.UpgradeRequired: Row(426, "upgrade-required", "The route is a WebSocket"),
    refusals.SlowRequest: Row(408, "slow-request", "The request did not arrive in time"),
    refusals.TooLate: Row(408, "too-late", "The request has come too late, and nothing was done"),
    refusals.UnsupportedExpectation: UNMET,
    refusals.BodyTooLarge: Row(413, "too-large", "The request is too large"),
}

# What aiohttp answers by itself.
_BY_STATUS: Final[Mapping[int, tuple[Row, str]]] = {
    400: (MALFORMED, "the request is not HTTP as it should be"),
    404: (Row(404, "not-found", "There is no such route"), "no route has that path"),
    405: (
        Row(405, "method-not-allowed", "The route does not take that method"),
        "`Allow` lists the methods of that path",
    ),
    413: (Row(413, "too-large", "The request is too large"), "the body is over the limit"),
    417: (UNMET, "only `Expect: 100-continue` is understood"),
}

_HEADERS: Final = {
    "Content-Type": "application/problem+json",
    **answers.COMMON_HEADERS,
}


def row_of(error: Exception) -> Row | None:
    """Find the row of an error's class or of the nearest one above it; ``None``: unforeseen."""
    if errors.is_out_of_files(error):
        return TABLE[errors.TooBusy]
    for kind in type(error).__mro__:
        if kind in TABLE:
            return TABLE[kind]
    return None


def answer(error: Exception, target: str | None = None, client: str = "") -> web.Response:
    """Render any exception; ``target`` is the id in the request's path, if it has one.

    ``client`` is whoever is answered.

    Nothing of the request is echoed except names of members and the target's id.
    """
    if isinstance(error, web.HTTPException):
        return _framework_answer(error)
    if isinstance(error, ValidationError):
        return _validation_answer(error)
    row = row_of(error)
    if row is None:
        return _render(INTERNAL, "the log of the service says more", {})
    if errors.is_out_of_files(error):
        error = errors.out_of_files()
    response = _render(row, str(error), _members(error, target, client), _headers(error))
    if isinstance(error, refusals.Refusal) and error.closes_connection:
        response.force_close()
    return response


def document(error: Exception, target: str | None = None, client: str = "") -> bytes:
    """Give the problem alone, as JSON, where there is no HTTP answer for it."""
    body = answer(error, target, client).body
    assert isinstance(body, bytes)  # noqa: S101 - tells the type checkers
    return body


def message(error: Exception) -> bytes:
    """Give a whole HTTP answer, where nothing else has one; the connection ends with it."""
    response = answer(error)
    body = document(error)
    headers = {**response.headers, "Content-Length": str(len(body)), "Connection": "close"}
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {response.status} {response.reason}\r\n{lines}\r\n".encode() + body


def slug(error: Exception) -> str:
    """Give the name of the problem alone."""
    if isinstance(error, web.HTTPException):
        return _BY_STATUS[error.status][0].slug if error.status in _BY_STATUS else INTERNAL.slug
    if isinstance(error, ValidationError):
        return (MALFORMED if _is_no_json(error) else INVALID).slug
    row = row_of(error)
    return INTERNAL.slug if row is None else row.slug


@cache
def rows() -> Mapping[str, Row]:
    """Give all of them, by their slugs; of two, the first."""
    by_status = (row for row, _ in _BY_STATUS.values())
    found: dict[str, Row] = {}
    for row in (*TABLE.values(), *by_status, INTERNAL):
        found.setdefault(row.slug, row)
    return found


def urn(slug: str) -> str:
    """Give what a problem has as its ``type``."""
    return f"urn:farpeek:problem:{slug}"


def _is_no_json(error: ValidationError) -> bool:
    return error.errors(include_url=False, include_input=False)[0]["type"] == "json_invalid"


def is_known(error: Exception) -> bool:
    """Whether it is the client's or the target's doing; else it is a mistake in the service."""
    return isinstance(error, (web.HTTPException, ValidationError)) or row_of(error) is not None


def _render(
    row: Row, detail: str, members: Mapping[str, Any], headers: Mapping[str, str] | None = None
) -> web.Response:
    body = {
        "type": urn(row.slug),
        "title": row.title,
        "status": row.status,
        "detail": detail,
        **members,
    }
    shown = {**_HEADERS, **(headers or {})}
    request_id = request_ids.CURRENT.get()
    if request_id is not None:
        body["request_id"] = shown[request_ids.HEADER] = request_id
    return web.Response(status=row.status, body=to_json(body), headers=shown)


def _members(error: Exception, target: str | None, client: str) -> dict[str, Any]:
    members = _refusal(error)
    if isinstance(error, errors.FarpeekError):
        members["retryable"] = error.retryable
        if target is not None:
            members["target"] = target
    if isinstance(error, (errors.AccessDenied, errors.KernelFailure)):
        members["errno"] = errno.errorcode.get(error.errno, str(error.errno))
    match error:
        case errors.AccessDenied():
            members |= {"gate": error.gate, "hint": error.hint}
        case refusals.BadRange():
            members["hint"] = error.hint
        case errors.DeadlineExceeded():
            since = {} if error.since is None else {"since": render.time(error.since)}
            members |= {"stage": error.stage, **since}
        case errors.TargetExited():
            members["target"] = render.target(error.target, client)
        case errors.AmbiguousNumber():
            members["readings"] = _readings(error)
            members["errors"] = [{"place": "pid", "cause": error.detail}]
        case errors.InvalidRequest() if error.place:
            members["errors"] = [{"place": mistakes.place_name(error.place), "cause": error.detail}]
        case _:
            pass
    return members | _findings(error)


def _refusal(error: Exception) -> dict[str, Any]:
    """Say who does not allow it."""
    match error:
        case refusals.NotPermitted():
            verb = {} if error.verb is None else {"verb": error.verb}
            return {**verb, "rule": error.rule}
        case refusals.OptedOut():
            return {"gate": error.gate}
        case _:
            return {}


def _readings(error: errors.AmbiguousNumber) -> dict[str, Any]:
    read = {"caller": error.caller, "service": error.service}
    return {who: None if it is None else render.process(it) for who, it in read.items()}


def _findings(error: Exception) -> dict[str, Any]:
    """Show what was met in a target, or instead of one."""
    match error:
        case errors.RangeUnreadable():
            return {"gap": render.gap(error.gap)}
        case errors.ExpectationFailed():
            return {"difference": render.difference(error.difference)}
        case errors.TargetChanged():
            return {"generation": error.generation}
        case errors.AlreadyTraced():
            return {"tracer_pid": error.tracer_pid}
        case errors.AmbiguousMatch():
            shown = [render.process(each) for each in error.candidates[:MOST_CANDIDATES]]
            return {"candidates": shown, "count": len(error.candidates)}
        case _:
            return {}


def _headers(error: Exception) -> Mapping[str, str]:
    if isinstance(error, refusals.RangeBeyond):
        return {"Content-Range": f"bytes */{error.size}"}
    if isinstance(error, refusals.Refusal):
        return error.headers
    if isinstance(error, errors.TooBusy):
        return {"Retry-After": str(error.retry_after_s)}
    if isinstance(error, (errors.TargetStuck, errors.ShuttingDown)):
        return {"Retry-After": "1"}
    return {}


def _framework_answer(error: web.HTTPException) -> web.Response:
    row, detail = _BY_STATUS.get(error.status, (INTERNAL, "the log of the service says more"))
    headers = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
    return _render(row, detail, {}, headers)


def _validation_answer(error: ValidationError) -> web.Response:
    found = error.errors(include_url=False, include_context=False, include_input=False)
    if _is_no_json(error):
        return _render(MALFORMED, found[0]["msg"], {})
    causes = list(_causes((each["loc"], each["type"], each["msg"]) for each in found))
    first = causes[0]
    detail = f"{first['place']}: {first['cause']}" if first["place"] else first["cause"]
    return _render(INVALID, detail, {"errors": causes[:MOST_CAUSES]})


def _causes(found: Iterable[tuple[tuple[int | str, ...], str, str]]) -> Iterable[dict[str, str]]:
    """Give one entry a place; of two, one inside the other, the inner one says more."""
    by_place: dict[tuple[int | str, ...], str] = {}
    for path, kind, message in found:
        place = mistakes.without_branches(path)
        by_place.setdefault(place, mistakes.cause(place, kind, message))
    outer = {place[:length] for place in by_place for length in range(len(place))}
    for place, text in by_place.items():
        if place not in outer:
            yield {"place": mistakes.place_name(place), "cause": text}
