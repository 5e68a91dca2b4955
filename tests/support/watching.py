"""Where whoever wants to look at all answers of services can do so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from support.serving import Reply


class Watcher(Protocol):
    """Looks at what services say; raises AssertionError where that is not as it should be."""

    def answer(self, method: str, path: str, reply: Reply) -> None:
        """Look at an answer over HTTP."""
        ...

    def object(self, kind: str, value: Any) -> None:  # noqa: ANN401 - JSON
        """Look at an object of an event, or of a frame; ``kind`` is its name in the document."""
        ...


watchers: list[Watcher] = []


def saw_answer(method: str, path: str, reply: Reply) -> None:
    """Tell all of them."""
    for each in watchers:
        each.answer(method, path, reply)


def saw_object(kind: str, value: Any) -> None:  # noqa: ANN401 - JSON
    """Tell all of them."""
    for each in watchers:
        each.object(kind, value)
