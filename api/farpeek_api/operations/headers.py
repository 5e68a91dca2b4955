"""Headers that mean something here, and what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Header:
    """What a header says, and its JSON schema."""

    text: str
    schema: Mapping[str, Any]
    is_required: bool = False
    name: str | None = None
    """What it is called, where another operation means something else by that name."""


_TEXT: Final = {"type": "string"}
_COUNT: Final = {"type": "integer", "minimum": 0}
_REQUEST_ID: Final = {"type": "string", "pattern": "^[A-Za-z0-9._:/+=@-]{1,128}$"}

SENT: Final[Mapping[str, Header]] = {
    "X-Request-Id": Header(
        "A name for the request: at most 128 letters, digits and `._:/+=@-`. Else it is given one.",
        _TEXT,
    ),
    "Farpeek-Not-After": Header(
        "The time, in ns of this host's CLOCK_BOOTTIME, behind which the request is not to be "
        "begun: 408 `too-late` then.",
        {"type": "string", "pattern": "^[0-9]{1,19}$"},
    ),
    "Farpeek-Target": Header(
        "What stands in the path of the operation: the id of a target or of a match.", _TEXT
    ),
    "Range": Header(
        "`bytes=FIRST-LAST`: decimal addresses, both of them included. An address space has no "
        "end to count from, so there is no `FIRST-` and no `-COUNT`.",
        {"type": "string", "pattern": "^bytes=[0-9]{1,20}-[0-9]{1,20}$"},
        is_required=True,
    ),
    "Range (file)": Header(
        "`bytes=FIRST-LAST`, `bytes=FIRST-` or `bytes=-COUNT`: positions in the file.",
        {"type": "string", "pattern": "^bytes=([0-9]{1,18}-[0-9]{0,18}|-[0-9]{1,18})$"},
        name="Range",
    ),
    "If-Range": Header("An `ETag`: the whole file if it is not that of the file any more.", _TEXT),
    "If-None-Match": Header("An `ETag`: 304 if the bytes are still those.", _TEXT),
    "Accept-Encoding": Header(
        "Where it names `zstd` or `gzip`, the answer is compressed so; `zstd` before `gzip`.", _TEXT
    ),
    "Last-Event-ID": Header(
        "Number of the last event that was seen: those behind it follow.",
        {"type": "string", "pattern": "^[0-9]{1,20}$"},
    ),
    "Upgrade": Header("`websocket`", {"const": "websocket"}, is_required=True),
    "Connection": Header("`Upgrade`", _TEXT, is_required=True),
    "Sec-WebSocket-Version": Header("`13`", {"const": "13"}, is_required=True),
    "Sec-WebSocket-Protocol": Header(
        "`farpeek.v1`, and of a browser `farpeek.ticket.TICKET`; see `POST /v1/stream/tickets`.",
        _TEXT,
    ),
    "Sec-WebSocket-Key": Header("16 random bytes in base64; RFC 6455.", _TEXT, is_required=True),
}

ANSWERED: Final[Mapping[str, Header]] = {
    "X-Request-Id": Header(
        "The name of the request: the client's, or a new one. Lines of the log have it.",
        _REQUEST_ID,
    ),
    "Location": Header("Path of what was made.", _TEXT, is_required=True),
    "Retry-After": Header("Seconds after which it may work.", _COUNT, is_required=True),
    "WWW-Authenticate": Header("`Bearer`", {"const": "Bearer"}, is_required=True),
    "Content-Range": Header(
        "`bytes FIRST-LAST/*`: what is planned; of a file, with its size. The body ends before "
        "LAST where a byte cannot be read that was thought to be there; then the connection is "
        "closed.",
        {"type": "string", "pattern": "^bytes [0-9]+-[0-9]+/(\\*|[0-9]+)$"},
        is_required=True,
    ),
    "Accept-Ranges": Header("`bytes`", {"const": "bytes"}, is_required=True),
    "ETag": Header("Stands for the bytes; of memory, for ranges up to 1 MiB.", _TEXT),
    "Farpeek-Generation": Header(
        "The number of the program that is read; none where that cannot be told.", _COUNT
    ),
    "Farpeek-Core-Size": Header("Bytes of the whole core, before any coding.", _COUNT),
    "Farpeek-File-Device": Header("Major and minor number in hex, as in the map.", _TEXT),
    "Farpeek-File-Inode": Header("As in the map.", _COUNT),
    "Farpeek-Build-Id": Header("Of an ELF file that has one.", _TEXT),
    "Content-Encoding": Header("`zstd` or `gzip`, where it is compressed.", _TEXT),
    "Content-Security-Policy": Header("What the page may load.", _TEXT, is_required=True),
    "Upgrade": Header("`websocket`", {"const": "websocket"}, is_required=True),
    "Sec-WebSocket-Accept": Header("RFC 6455.", _TEXT, is_required=True),
    "Sec-WebSocket-Protocol": Header(
        "`farpeek.v1`, where that is offered.", {"const": "farpeek.v1"}
    ),
}

OF_STATUS: Final[Mapping[int, str]] = {
    401: "WWW-Authenticate",
    426: "Upgrade",
    429: "Retry-After",
    503: "Retry-After",
}
"""Headers of problems."""
