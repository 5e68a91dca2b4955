"""What the client raised, as a line for people and an exit status."""

from __future__ import annotations

from farpeek_api.cli import statuses
from farpeek_api.client.problems import IncompleteRead, PeekError, Problem, Unreachable


def explain(error: PeekError) -> tuple[str, int]:
    """Give what to say, cure included, and the status to end with."""
    if isinstance(error, Problem):
        status = statuses.OF_SLUGS.get(error.slug, statuses.FAILED)
        return str(error) + _cure(error), status
    if isinstance(error, IncompleteRead):
        return str(error), statuses.INCOMPLETE
    if isinstance(error, Unreachable):
        return f"{error}, or name another service with --url", statuses.FAILED
    return str(error), statuses.FAILED


def _cure(problem: Problem) -> str:
    if problem.slug == "unauthenticated":
        return ": give a token with --token-file"
    if problem.slug in ("too-busy", "target-stuck") and problem.retry_after_s:
        return f": try again in {problem.retry_after_s:g} s"
    return ""
