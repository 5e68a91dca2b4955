"""HTTP calls as curl commands that can be pasted into a shell."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlencode

from farpeek_api.client.steps import Open, Request

if TYPE_CHECKING:
    from farpeek_api.client.address import Place
    from farpeek_api.client.steps import Call, Flow


def first_request(call: Call[Any] | Flow[Any]) -> Request:
    """Give the request that a call begins with, and do not make it."""
    step = next(call)
    call.close()
    request = step.request if isinstance(step, Open) else step
    return cast("Request", request)


def command(place: Place, request: Request, *options: str) -> str:
    """Write a request as a curl command, with options of curl's.

    The token is read by the shell, and not shown.
    """
    words = ["curl", "-sS", *options]
    if place.socket is not None:
        words += ["--unix-socket", shlex.quote(str(place.socket))]
    if place.token_file is not None:
        token = f"$(grep -v '^#' {shlex.quote(str(place.token_file))} | head -n 1)"
        words += ["-H", f'"Authorization: Bearer {token}"']
    if request.method != ("POST" if request.body else "GET"):
        words += ["-X", request.method]
    for name, value in request.headers.items():
        words += ["-H", shlex.quote(f"{name}: {value}")]
    if request.body:
        words += ["--data-binary", shlex.quote(request.body.decode())]
    query = f"?{urlencode(request.query)}" if request.query else ""
    return " ".join([*words, shlex.quote(f"{place.base}{request.path}{query}")])
