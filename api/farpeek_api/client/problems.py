"""What can go wrong, as exceptions: a class for each slug of the service's problems.

    PeekError
    ├── Unreachable       nobody answers at that address
    │   └── UnknownNode, NodeOffline
    ├── Interrupted       the service, or the network, went away in the middle of an answer
    ├── BadAnswer         what answers is no farpeek, or one of another version
    ├── IncompleteRead    bytes are missing; ``result`` has those that are there
    └── Problem           the service says what is wrong (RFC 9457)
        ├── TargetExited, AccessDenied, TooBusy, ...

A class of `Problem` is called as its slug is: ``target-exited`` is `TargetExited`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, ClassVar, Final, cast

from farpeek_api.client import members
from farpeek_api.client.results import TargetInfo

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from farpeek_api.client.results import ReadResult

_PREFIX: Final = "urn:farpeek:problem:"


class PeekError(Exception):
    """Root of all that this client raises of its own accord."""


class Unreachable(PeekError):
    """Nobody answers at the address; the message has the cure."""


class UnknownNode(Unreachable):
    """No node of a fleet is connected by that name."""


class NodeOffline(Unreachable):
    """A node of a fleet is not connected; ``last_seen`` is when it was, by the broker's clock."""

    def __init__(self, message: str, last_seen: datetime) -> None:
        super().__init__(message)
        self.last_seen = last_seen


class Interrupted(PeekError):
    """An answer ended before its end, or did not begin."""


class BadAnswer(PeekError):
    """The answer is not what a farpeek of this version sends; the message names the member."""


class IncompleteRead(PeekError):
    """Some bytes could not be read.

    ``result`` is the whole `ReadResult`: its ``gaps`` say what is missing and why.
    """

    def __init__(self, result: ReadResult) -> None:
        super().__init__(result)
        self.result = result

    def __str__(self) -> str:
        """Name the first gap."""
        result = self.result
        first = result.gaps[0]
        return (
            f"{result.read} of {result.requested} bytes could be read: {first.length} at "
            f"{first.address:#x} are {first.reason}"
        )


class Problem(PeekError):
    """The service says what is wrong: ``slug``, ``status``, ``title``, ``detail``.

    ``members`` has all that it said. A slug that this client does not know is a `Problem` itself.
    """

    status_of_class: ClassVar[int] = 0
    _classes: ClassVar[dict[str, type[Problem]]] = {}

    def __init__(self, members: Mapping[str, object], retry_after_s: float | None = None) -> None:
        super().__init__(members)
        self.members = members
        self.retry_after_s = retry_after_s
        """Seconds after which it may be tried again; None where nothing is said."""

    def __init_subclass__(cls, *, status: int) -> None:
        """Be known by the slug that the name of the class stands for."""
        cls.status_of_class = status
        slug = re.sub(r"(?<!^)([A-Z])", r"-\1", cls.__name__).lower()
        Problem._classes[slug] = cls

    def __str__(self) -> str:
        """Say what is wrong, and the cure where there is one."""
        return f"{self.detail} ({self.hint})" if self.hint else self.detail

    @property
    def slug(self) -> str:
        """The problem's name: the end of its ``type``."""
        return self._text("type").removeprefix(_PREFIX)

    @property
    def status(self) -> int:
        """The HTTP status; 0 if the service gave none."""
        value = self.members.get("status")
        return value if isinstance(value, int) else 0

    @property
    def title(self) -> str:
        """What kind of problem it is, for people."""
        return self._text("title")

    @property
    def detail(self) -> str:
        """What is wrong this time, for people."""
        return self._text("detail") or self.title or self.slug

    @property
    def hint(self) -> str:
        """What to do about it; empty where nothing is said."""
        return self._text("hint")

    @property
    def retryable(self) -> bool:
        """Whether the same request may succeed later."""
        return self.members.get("retryable") is True

    def _text(self, name: str) -> str:
        value = self.members.get(name)
        return value if isinstance(value, str) else ""


class Malformed(Problem, status=400):
    """The request cannot be read."""


class Unauthenticated(Problem, status=401):
    """The service does not know who is asking: give a token, or ask as its own user."""


class Forbidden(Problem, status=403):
    """The service does not allow that to whoever is asking."""


class AccessDenied(Problem, status=403):
    """The kernel refuses access to the target: ``gate`` says which check it was."""

    @property
    def gate(self) -> str:
        """Which check refused: ``uid``, ``capability``, ``dumpable``, ``yama``, ..."""
        return self._text("gate")


class NotFound(Problem, status=404):
    """There is no such route: the service is of another version."""


class NoSuchTarget(Problem, status=404):
    """No target has that id."""


class NoSuchMatch(Problem, status=404):
    """No standing match of this client has that id."""


class NoSuchProcess(Problem, status=404):
    """No process has that number, or fits that match."""


class NoFile(Problem, status=404):
    """There is no file behind an address."""


class MethodNotAllowed(Problem, status=405):
    """The route does not take that method: the service is of another version."""


class NotAcceptable(Problem, status=406):
    """There is no such form of the answer: the service is of another version."""


class SlowRequest(Problem, status=408):
    """The request did not arrive in time."""


class TooLate(Problem, status=408):
    """Its time was over before it was begun: nothing was done."""


class Ambiguous(Problem, status=409):
    """Several processes fit: ``candidates`` are the first of them, ``count`` all."""

    @property
    def candidates(self) -> Sequence[Mapping[str, object]]:
        """Processes that fit, as the service shows them (``pid``, ``comm``, ``exe``, ...)."""
        shown = self.members.get("candidates")
        if not isinstance(shown, list):
            return ()
        found = cast("list[object]", shown)
        return [cast("dict[str, object]", each) for each in found if isinstance(each, dict)]


class ExpectationFailed(Problem, status=409):
    """Other bytes are there than the write expects; ``members["difference"]`` is the first."""


class AlreadyTraced(Problem, status=409):
    """Another process traces the target: ``members["tracer_pid"]``."""


class TargetChanged(Problem, status=409):
    """The target executes another program than the one that was meant."""


class FileRemote(Problem, status=409):
    """A file that the service does not open: it is a device, or its filesystem could hang."""


class TargetExited(Problem, status=410):
    """The target has exited, and its memory is gone."""

    @property
    def target(self) -> TargetInfo | None:
        """What the service still knows of it; None where it was no target yet."""
        try:
            return TargetInfo.parse(members.Members(self.members.get("target")))
        except members.Odd:
            return None

    @property
    def exit(self) -> Mapping[str, object] | None:
        """How it ended: ``code``, ``signal``, ``core_dumped``; None where nobody can tell."""
        target = self.members.get("target")
        found = cast("dict[str, object]", target).get("exit") if isinstance(target, dict) else None
        return cast("dict[str, object]", found) if isinstance(found, dict) else None


class TooLarge(Problem, status=413):
    """The request asks for more than one answer may carry: split it."""


class UnsupportedMediaType(Problem, status=415):
    """The body is in no form that the service knows: it is of another version."""


class RangeUnreadable(Problem, status=416):
    """A range cannot be read from there on: ``members["gap"]`` says why."""


class RangeBeyond(Problem, status=416):
    """A file ends before the range that was asked for begins."""


class UnsupportedExpectation(Problem, status=417):
    """The service does not understand an ``Expect`` of the request."""


class Invalid(Problem, status=422):
    """The request makes no sense; ``members["errors"]`` lists places and causes."""


class UpgradeRequired(Problem, status=426):
    """The route is a WebSocket."""


class TooBusy(Problem, status=429):
    """A budget of the service is used up; ``retry_after_s`` says when to try again."""


class Internal(Problem, status=500):
    """Something went wrong in the service; its log says more."""


class Unsupported(Problem, status=501):
    """The kernel, or the privileges of the service, cannot do it."""


class TargetStuck(Problem, status=503):
    """All threads for this target hang in the kernel."""


class AuditUnavailable(Problem, status=503):
    """The service may do nothing that it cannot record, and its audit takes no more at present."""


class ShuttingDown(Problem, status=503):
    """The service is stopping."""


class Deadline(Problem, status=504):
    """The time is over; ``stage`` says what the read was at."""

    @property
    def stage(self) -> str:
        """What took the time: ``queue``, ``page-fault``, ``mappings``, ..."""
        return self._text("stage")


def slugs() -> Mapping[str, type[Problem]]:
    """Give all slugs that this client knows, and their classes."""
    return dict(Problem._classes)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - of this module


def problem_of(shown: object, retry_after_s: float | None = None) -> Problem:
    """Make the exception for a problem document.

    Raises BadAnswer for what is none.
    """
    found = members.mapping(shown)
    name = None if found is None else found.get("type")
    if found is None or not isinstance(name, str) or not name.startswith(_PREFIX):
        raise BadAnswer("what answers is no farpeek: it refused without a problem of farpeek's")
    kind = slugs().get(name.removeprefix(_PREFIX), Problem)
    return kind(found, retry_after_s)
