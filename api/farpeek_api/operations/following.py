"""What goes on for as long as its client likes: events, and the stream."""

from __future__ import annotations

from typing import Final

from farpeek_api.gate.tickets import STREAM_PATH
from farpeek_api.http import queries, service_shapes
from farpeek_api.http.answers import EVENTS as EVENT_STREAM
from farpeek_api.operations import examples
from farpeek_api.operations.kinds import ADMITTED, NEGOTIATED, PARSED
from farpeek_api.operations.operation import Answer, Operation
from farpeek_api.policy.verbs import Verb

_GROUP: Final = "following"

EVENTS: Final = Operation(
    id="events",
    method="GET",
    path="/v1/events",
    verb=Verb.EVENTS,
    group=_GROUP,
    summary="What happens to targets",
    text="""Server-Sent Events. Each has a number as `id`, which goes up across restarts too.

| event | `data` |
| --- | --- |
| `registered`, `exec`, `exited`, `reaped`, `released` | a `TargetEvent` |
| `lost` | a `LostEvents`: some are not kept any more |

There is a comment every 15 s at least. Without `Last-Event-ID` it begins
with what happens next.""",
    query=queries.EventsQuery,
    headers=["Last-Event-ID"],
    answers=[
        Answer(
            status=200,
            text="Events, until the client leaves or the service stops.",
            others={EVENT_STREAM: "Server-Sent Events."},
        )
    ],
    problems=(*ADMITTED, *PARSED, *NEGOTIATED),
    is_endless=True,
)
STREAM: Final = Operation(
    id="stream",
    method="GET",
    path=STREAM_PATH,
    verb=None,
    group=_GROUP,
    summary="Many small reads, and subscriptions",
    text="""A WebSocket. Each text message is a request, a `StreamMessage`. Each answer is a binary
frame: a big-endian u32 N, N bytes of JSON, a `StreamAnswer`, then the bytes if it has any.

| message | answers |
| --- | --- |
| a `StreamRead` | a `StreamReadHead` and its bytes, in order of completion |
| a `Subscribe` | a `Subscribed`, then a `Tick` and its bytes each time, then an `Ended` |
| an `Unsubscribe` | an `Ended` |
| what is wrong | a `StreamProblem` |

Of a subscription to a standing match, a target that is sampled no more is told of by a `Left`.""",
    headers=[
        *("Upgrade", "Connection"),
        *("Sec-WebSocket-Version", "Sec-WebSocket-Key", "Sec-WebSocket-Protocol"),
    ],
    answers=[
        Answer(
            status=101,
            text="The connection is a WebSocket from here on.",
            headers=["Upgrade", "Sec-WebSocket-Accept", "Sec-WebSocket-Protocol"],
        )
    ],
    problems=(*ADMITTED, *PARSED, "upgrade-required"),
    is_endless=True,
)
STREAM_TICKET: Final = Operation(
    id="stream_ticket",
    method="POST",
    path=f"{STREAM_PATH}/tickets",
    verb=None,
    group=_GROUP,
    summary="A ticket, by which a browser opens a stream",
    text="""For pages, which cannot send a token with a WebSocket: offer the protocols
`farpeek.v1` and `farpeek.ticket.TICKET`. A ticket is good for one stream of the client that has
asked for it, by the same user or from the same address, for half a minute, and under the same
policy. Where the client may open no more streams, this says so.""",
    answers=[Answer(status=200, text="The ticket.", model=service_shapes.Ticket)],
    problems=(*ADMITTED, *PARSED, *NEGOTIATED),
    examples=[examples.TICKET],
)
