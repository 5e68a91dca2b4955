"""What a call does, as values: it yields steps, and whoever drives it says what came of each.

So there is one implementation of every call, and a driver for each way to wait (`drivers`).
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Generic, TypeAlias, TypeVar, cast

from farpeek_api.client.problems import TooBusy

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

T = TypeVar("T")

MIB: Final = 1 << 20
MOST_JSON: Final = 64 * MIB
"""Bytes of an answer in JSON, gaps of a read included: 65,536 of them are half of that."""

SILENCE_S: Final = 60.0
"""Longest silence of a service that is asked; its own deadline is 10 s by default."""

PATIENCE_S: Final = 30.0
"""How long a dump or a stream of events tries to reach a service that has gone away."""

_LONGEST_PAUSE_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request, to be answered whole by at most ``most`` bytes."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict[str, str])
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    body: bytes = b""
    most: int = MOST_JSON
    silence_s: float = SILENCE_S


@dataclass(frozen=True, slots=True)
class Open:
    """A request whose answer comes in parts, by ``More``. A refusal is answered whole."""

    request: Request


class More:
    """The next part of what was opened; nothing at its end."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Work:
    """Do what may take its time, like writing to a disk."""

    function: Callable[[], object]


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back. Names of headers are in lower case; an open answer has no body yet."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Item(Generic[T]):
    """Of a flow: a value for whoever iterates."""

    value: T


Step: TypeAlias = Request | Open | More | Pause | Work
Call: TypeAlias = Generator[Step, Any, T]
"""Ends with its result."""

Flow: TypeAlias = Generator[Step | Item[T], Any, None]
"""Gives items on its way."""


def more() -> Call[bytes]:
    """Take the next part of what is open."""
    return cast("bytes", (yield More()))


def work(function: Callable[[], T]) -> Call[T]:
    """Do what may take its time."""
    return cast("T", (yield Work(function)))


def patient(call: Generator[Any, Any, T], retries: int) -> Generator[Any, Any, T]:
    """Ask again, up to ``retries`` times for each request, where the service is too busy.

    A 429 means that nothing was done, so any request may be sent again.
    """
    return _patient(call, retries) if retries else call


def _patient(call: Generator[Any, Any, T], retries: int) -> Generator[Any, Any, T]:
    try:
        step = next(call)
        while True:
            try:
                answer = yield from _ask_patiently(step, retries)
            except Exception as error:  # noqa: BLE001 - the call's, whatever it is
                step = call.throw(error)
            else:
                step = call.send(answer)
    except StopIteration as end:
        return cast("T", end.value)
    finally:
        call.close()


def _ask_patiently(step: object, retries: int) -> Generator[object, Any, object]:
    answer: object = yield step
    while retries and isinstance(answer, Reply) and answer.status == TooBusy.status_of_class:
        retries -= 1
        yield Pause(min(retry_after_s(answer), _LONGEST_PAUSE_S))
        answer = yield step
    return answer


def retry_after_s(reply: Reply) -> float:
    """How long the service asks to be left alone, in seconds."""
    text = reply.headers.get("retry-after", "")
    return float(text) if text.isascii() and text.isdigit() and len(text) < 10 else 1.0  # noqa: PLR2004
