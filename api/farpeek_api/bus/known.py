"""What is known of a node that is asked: which operations it has, and what its clock shows."""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING, Final, NamedTuple, cast
from urllib.parse import unquote

from farpeek_api.bus import messages, problems, subjects
from farpeek_api.bus.asking import Question
from farpeek_api.bus.catalogue import Catalogue, digest
from farpeek_api.bus.problems import Refusal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from farpeek_api.bus.answers import Answer
    from farpeek_api.bus.asking import Asking
    from farpeek_api.bus.catalogue import Route

_DOCUMENT: Final = "openapi"
_LARGEST_DOCUMENT: Final = 8 << 20
_LARGEST_ABOUT: Final = 64 << 10
_MOST_SHARED: Final = 16
"""A fleet has few versions at once."""
_SECOND_NS: Final = 10**9
_OLD_NS: Final = 30 * _SECOND_NS
"""A clock is asked for anew then: the host may have been started again, and its clock with it."""


class Found(NamedTuple):
    """What a method and a path ask for."""

    operation: str
    route: Route
    named: str | None
    """What stands in the places of the path."""


class _Pattern(NamedTuple):
    operation: str
    route: Route
    path: re.Pattern[str]


class Known:
    """One node, as far as it has told of itself."""

    def __init__(self, node: str) -> None:
        self.node = node
        self.learned_at: float | None = None
        """When its document was read, by time.monotonic."""
        self._patterns: Sequence[_Pattern] = ()
        self._clock: tuple[int, int] | None = None  # the node's, and ours when it came

    async def learn(self, asking: Asking) -> None:
        """Ask it which operations it has. Raises Refusal.

        What another node has told the same of is not sent a second time, at first: if an operation
        is missing in that, the node has to tell it itself.
        """
        shared = None
        if self.learned_at is None and _SHARED:
            shared = _SHARED.get(await self._digest(asking))
        self._patterns = await self._told(asking) if shared is None else shared
        self.learned_at = time.monotonic()

    async def _digest(self, asking: Asking) -> str:
        """Ask it by which digest its document goes; it may be wrong, and is looked up alone."""
        answer = await asking.ask(self.node, Question(subjects.CLOCK))
        try:
            text = await answer.whole(_LARGEST_ABOUT)
        finally:
            await answer.close()
        self.heard(answer)
        try:
            said: object = json.loads(text)
        except ValueError:
            return ""
        about = cast("dict[str, object]", said) if isinstance(said, dict) else {}
        return str(about.get(messages.DOCUMENT, ""))

    async def _told(self, asking: Asking) -> Sequence[_Pattern]:
        answer = await asking.ask(self.node, Question(_DOCUMENT))
        try:
            text = await answer.whole(_LARGEST_DOCUMENT)
        finally:
            await answer.close()
        self.heard(answer)
        if answer.status != 200:  # noqa: PLR2004 - HTTP's
            raise Refusal(problems.UNREACHABLE, f"the node {self.node!r} does not tell them")
        try:
            return _shared(text)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise Refusal(
                problems.UNREACHABLE, f"the node {self.node!r} has no document of its operations"
            ) from error

    def find(self, method: str, path: str) -> Found | None:
        """Give the operation that a request's method and its path, as it came, ask for.

        HEAD has its own in few places; elsewhere it is GET, of whose answer the head is taken.
        """
        found = self._find(method, path)
        if found is None and method == "HEAD":
            found = self._find("GET", path)
            return None if found is None or found.route.endless else found
        return found

    def _find(self, method: str, path: str) -> Found | None:
        for operation, route, pattern in self._patterns:
            found = pattern.fullmatch(path) if route.method == method else None
            if found is not None:
                return Found(operation, route, "/".join(map(unquote, found.groups())) or None)
        return None

    def find_operation(self, name: str) -> Route | None:
        """Give the route of an operation."""
        return next((each.route for each in self._patterns if each.operation == name), None)

    def heard(self, answer: Answer) -> None:
        """Note what its clock shows now."""
        if answer.clock_ns:
            self._clock = answer.clock_ns, time.monotonic_ns()

    async def not_after(self, asking: Asking, timeout_s: float) -> int:
        """Say when a request is too late, by the node's clock. Raises Refusal."""
        if self._clock is None or time.monotonic_ns() - self._clock[1] > _OLD_NS:
            self._clock = await asking.clock_ns(self.node), time.monotonic_ns()
        shown, came = self._clock
        # The node's clock shows this at least: it showed the one before the other came.
        return shown + (time.monotonic_ns() - came) + int(timeout_s * _SECOND_NS)


_SHARED: Final[dict[str, Sequence[_Pattern]]] = {}
"""Documents that are taken apart, by digests of what has come: no node chooses by which of them its
own is found, and so none has another node's requests read by it."""


def _shared(text: bytes) -> Sequence[_Pattern]:
    """Take a document apart, once for all nodes that have the same."""
    key = digest(text)
    known = _SHARED.get(key)
    if known is None:
        known = _patterns(text)
        if len(_SHARED) >= _MOST_SHARED:
            _SHARED.clear()
        _SHARED[key] = known
    return known


def _patterns(text: bytes) -> Sequence[_Pattern]:
    routes = Catalogue(text).routes
    made = [
        _Pattern(name, route, re.compile(re.sub(r"\\\{\w+\\\}", "([^/]+)", re.escape(route.path))))
        for name, route in routes.items()
    ]
    # A path that is written out goes before one in which anything may stand there.
    return sorted(made, key=lambda each: each.path.groups)
