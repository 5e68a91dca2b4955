"""What aiohttp's parser of requests may take, and what is said of what it refuses."""

from __future__ import annotations

from typing import Final

from aiohttp import http_exceptions as parser_errors

LONGEST_LINE: Final = 8190
MOST_HEADERS: Final = 128


def explain(error: BaseException | None) -> str:
    """Say what is wrong without a byte of the request."""
    match error:
        case parser_errors.LineTooLong():
            return f"the request line or a header is longer than {LONGEST_LINE} bytes"
        case parser_errors.BadHttpMethod():
            return "the request line begins with no method that HTTP knows"
        case parser_errors.BadStatusLine() | parser_errors.InvalidURLError():
            return "the request line is not METHOD PATH HTTP/1.1"
        case parser_errors.InvalidHeader():
            return "a header is not NAME: VALUE"
        case _:
            return "the request line, a header or the Host is missing or not as HTTP/1.1 wants it"
