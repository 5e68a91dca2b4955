"""What only HTTP can refuse: who asks, and how. The service's own tree is ``farpeek.errors``."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from farpeek.errors import NoSuchTarget, TooBusy

if TYPE_CHECKING:
    from collections.abc import Mapping


class Refusal(Exception):
    """Root of the tree. ``str(refusal)`` is one sentence for the person who asked."""

    headers: ClassVar[Mapping[str, str]] = {}
    closes_connection: ClassVar[bool] = False

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class Malformed(Refusal):
    """What arrived is not HTTP, or its body is cut short or badly framed."""


class BadRange(Malformed):
    """There is no ``Range``, or it is none of an address space; ``hint`` says what is."""

    def __init__(self, detail: str, hint: str) -> None:
        super().__init__(detail)
        self.hint = hint


class RangeBeyond(Refusal):
    """A range has no byte of a file of ``size`` bytes."""

    def __init__(self, size: int) -> None:
        super().__init__(f"the file has {size} bytes")
        self.size = size


class Unauthenticated(Refusal):
    """Nobody has shown who asks."""

    headers: ClassVar[Mapping[str, str]] = {"WWW-Authenticate": "Bearer"}


class Forbidden(Refusal):
    """The request names a host, or comes from a web page, that is not ours."""


class NotPermitted(Forbidden):
    """The policy does not let this client do that; ``rule`` is where it says so."""

    def __init__(self, detail: str, rule: str, verb: str | None = None) -> None:
        super().__init__(detail)
        self.verb = verb
        self.rule = rule


class OptedOut(Forbidden):
    """The process itself does not want it."""

    gate: ClassVar[str] = "opt-out"


class Hidden(NoSuchTarget):
    """The client is not to know of the target: for it, it is not there."""


class WordUnknown(TooBusy):
    """Whether the process has opted out is not known yet."""

    def __init__(self) -> None:
        super().__init__(
            "whether the process has opted out cannot be told, for its environment is not in "
            "memory, or somebody changes its mappings: try again"
        )


class Changing(TooBusy):
    """The target may execute another program by now than the one that this was done to."""

    def __init__(self) -> None:
        super().__init__("the target executes one program after the other: try again")


class AuditUnavailable(Refusal):
    """What was asked for would leave no line in the audit, so it is not done."""

    headers: ClassVar[Mapping[str, str]] = {"Retry-After": "1"}

    def __init__(self) -> None:
        super().__init__(
            "what is done could not be recorded, for the audit's file takes nothing at present: "
            "try again; the log of the service says why"
        )


class NotAcceptable(Refusal):
    """The answer exists in no form that the client takes."""


class UnsupportedMediaType(Refusal):
    """The request's body is in no form that is understood here."""


class UpgradeRequired(Refusal):
    """The route is a WebSocket, and the request does not ask for one."""

    headers: ClassVar[Mapping[str, str]] = {"Upgrade": "websocket", "Connection": "Upgrade"}


class SlowRequest(Refusal):
    """The body did not arrive in time."""

    closes_connection: ClassVar[bool] = True


class TooLate(Refusal):
    """Its time was over before it was begun."""

    def __init__(self, late_s: float) -> None:
        super().__init__(
            f"the request was to be begun {late_s:.3f} s before now (`Farpeek-Not-After`): nothing "
            "was done; send it again if it is still wanted"
        )


class UnsupportedExpectation(Refusal):
    """``Expect`` wants something else than to be told to go on."""


class BodyTooLarge(Refusal):
    """The body is over the limit of ``largest`` bytes; the rest of it is not waited for."""

    closes_connection: ClassVar[bool] = True

    def __init__(self, largest: int) -> None:
        super().__init__(
            f"the body is over {largest} bytes: split the request, or raise --max-body-bytes"
        )
