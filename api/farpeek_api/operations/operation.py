"""What an operation is: something that can be asked of the service, as values alone.

Whatever carries requests (HTTP, and what describes it) takes from here what there is, what it is
given and what it may answer.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

from farpeek_api.http.queries import NoQuery
from farpeek_api.policy.verbs import Verb

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from farpeek_api.http.schema import Wire


class Entrance(Enum):
    """Who is let in to an operation."""

    GUARDED = "guarded"
    """Clients, who show who they are."""
    PUBLIC = "public"
    """Browsers, too, which have no token yet: by a name of the service, and from its own page."""
    OPEN = "open"
    """Whoever comes, by whatever name: probes."""


@dataclass(frozen=True, slots=True)
class Body:
    """What a request carries: JSON, and perhaps other forms of the same."""

    model: Any
    """A type, of JSON."""
    others: Mapping[str, str] = field(default_factory=dict[str, str])
    """Of other media types, what their bytes are."""
    is_required: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What comes of an operation where nothing goes wrong."""

    status: int
    text: str
    """What it is."""
    model: Any = None
    """A type, of JSON."""
    others: Mapping[str, str] = field(default_factory=dict[str, str])
    """Of other media types, what their bytes are."""
    headers: Sequence[str] = ()
    """See ``headers.ANSWERED``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A request and its answer, from a real service."""

    name: str
    path: Mapping[str, str] = field(default_factory=dict[str, str])
    query: Mapping[str, Any] = field(default_factory=dict[str, Any])
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    body: Any = None
    status: int = 200
    answer: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """Something that can be asked of the service."""

    id: str
    method: str
    path: str
    """As aiohttp and OpenAPI write it: ``/v1/targets/{id}``."""
    verb: Verb | None
    """What a policy has to grant for it; None: whoever is let in may ask for it."""
    group: str
    summary: str
    text: str
    """What it does, in Markdown."""
    query: type[Wire] = NoQuery
    headers: Sequence[str] = ()
    """Of the request; see ``headers.SENT``."""
    body: Body | None = None
    answers: Sequence[Answer]
    problems: Sequence[str]
    """Slugs of what may go wrong; see ``http.problems``."""
    entrance: Entrance = Entrance.GUARDED
    is_endless: bool = False
    """The answer goes on for as long as its client likes."""
    examples: Sequence[Example] = ()

    @property
    def changes(self) -> bool:
        """Whether something is otherwise behind it, so that it is not to be done late, or twice."""
        return self.verb in (Verb.REGISTER, Verb.WRITE)
