"""What may go wrong, as the document has it: problems by their slugs and statuses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from farpeek_api.http import problems
from farpeek_api.http.problem_shapes import ANY_PROBLEM
from farpeek_api.openapi.schemas import ref
from farpeek_api.operations import headers

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from farpeek_api.http.problems import Row
    from farpeek_api.openapi.schemas import Schema, Schemas
    from farpeek_api.operations.headers import Header
    from farpeek_api.operations.operation import Operation

_PROBLEM: Final = "application/problem+json"
_REQUEST_ID: Final = "X-Request-Id"


@dataclass(frozen=True, slots=True)
class Refusals:
    """All problems of a document, and what each of them holds."""

    rows: Mapping[str, Row]
    with_members: Mapping[str, type]
    """Models of those that hold more than the others."""
    plain: type
    """The model of the others."""

    @property
    def models(self) -> tuple[type, ...]:
        """All of them, each once."""
        return (self.plain, *self.with_members.values())

    def of(self, operation: Operation) -> dict[str, Any]:
        """Show by their status what may go wrong with an operation."""
        by_status: dict[int, list[str]] = {}
        for slug in operation.problems:
            by_status.setdefault(self.rows[slug].status, []).append(slug)
        return {
            str(status): self._one(by_status[status], operation.method)
            for status in sorted(by_status)
        }

    def responses(self) -> dict[str, Any]:
        """Make a component of the answer with each problem."""
        return {_camel(slug): self._answer([slug]) for slug in sorted(self.rows)}

    def schemas(self, made: Schemas) -> dict[str, Schema]:
        """Make a component of each problem: its own members, and what it is called."""
        found: dict[str, Schema] = {}
        for slug, row in self.rows.items():
            shown = made.components[self.with_members.get(slug, self.plain).__name__]
            fixed: dict[str, Schema] = {
                "type": {"const": problems.urn(slug)},
                "title": {"examples": [row.title]},
                "status": {"const": row.status},
            }
            properties = {
                name: {**each, **fixed.get(name, {})} for name, each in shown["properties"].items()
            }
            found[_problem_name(slug)] = {
                **shown,
                "description": f"{row.title}.",
                "properties": properties,
            }
        found[ANY_PROBLEM] = {"description": "Any of the problems.", **_one_of(sorted(self.rows))}
        return found

    def _one(self, slugs: Sequence[str], method: str) -> dict[str, Any]:
        if method == "HEAD":  # no answer to it has a body
            shown = self._answer(slugs)
            del shown["content"]
            return shown
        if len(slugs) == 1:
            return {"$ref": f"#/components/responses/{_camel(slugs[0])}"}
        return self._answer(slugs)

    def _answer(self, slugs: Sequence[str]) -> dict[str, Any]:
        rows = [self.rows[slug] for slug in slugs]
        header = headers.OF_STATUS.get(rows[0].status)
        return {
            "description": "\n\n".join(f"`{row.slug}`: {row.title}." for row in rows),
            "headers": answered_headers([] if header is None else [header]),
            "content": {_PROBLEM: {"schema": _one_of(slugs)}},
        }


def answered_headers(names: Iterable[str]) -> dict[str, Any]:
    """Refer to headers of an answer; each has the name of its request."""
    return {name: {"$ref": f"#/components/headers/{name}"} for name in (*names, _REQUEST_ID)}


def header(shown: Header) -> dict[str, Any]:
    """Show what a header says."""
    return {"description": shown.text, "required": shown.is_required, "schema": shown.schema}


def _one_of(slugs: Sequence[str]) -> Schema:
    refs = {problems.urn(slug): ref(_problem_name(slug)) for slug in slugs}
    if len(refs) == 1:
        return next(iter(refs.values()))
    return {
        "oneOf": list(refs.values()),
        "discriminator": {
            "propertyName": "type",
            "mapping": {urn: each["$ref"] for urn, each in refs.items()},
        },
    }


def _problem_name(slug: str) -> str:
    return f"{_camel(slug)}Problem"


def _camel(slug: str) -> str:
    return "".join(part.capitalize() for part in slug.split("-"))
