"""What only HTTP can refuse: who asks, and how. The service's own tree is ``farpeek.errors``."""

from __future__ import annotations

from typing import ClassVar


class Refusal(Exception):
    """Root of the tree. ``str(refusal)`` is one sentence for the person who asked."""

    headers: ClassVar[dict[str, str]] = {}
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


class Unauthenticated(Refusal):
    """Nobody has shown who asks."""

    headers: ClassVar[dict[str, str]] = {"WWW-Authenticate": "Bearer"}


class Forbidden(Refusal):
    """The request names a host, or comes from a web page, that is not ours."""


class NotAcceptable(Refusal):
    """The answer exists in no form that the client takes."""


class UnsupportedMediaType(Refusal):
    """The request's body is in no form that is understood here."""


class UpgradeRequired(Refusal):
    """The route is a WebSocket, and the request does not ask for one."""

    headers: ClassVar[dict[str, str]] = {"Upgrade": "websocket", "Connection": "Upgrade"}


class SlowRequest(Refusal):
    """The body did not arrive in time."""

    closes_connection: ClassVar[bool] = True


class UnsupportedExpectation(Refusal):
    """``Expect`` wants something else than to be told to go on."""


class BodyTooLarge(Refusal):
    """The body is over the limit of ``largest`` bytes; the rest of it is not waited for."""

    closes_connection: ClassVar[bool] = True

    def __init__(self, largest: int) -> None:
        super().__init__(
            f"the body is over {largest} bytes: split the request, or raise --max-body-bytes"
        )
