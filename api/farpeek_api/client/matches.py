"""Standing matches: what holds all processes that fit, now and later."""

from __future__ import annotations

from typing import TYPE_CHECKING

from farpeek_api.client import calls
from farpeek_api.client.operations import operation
from farpeek_api.client.results import StandingMatch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from farpeek_api.client.steps import Call


class Matches:
    """What `Client` can be asked about them."""

    @operation
    def hold(  # noqa: PLR0913 - ways to say what a process is
        self,
        *,
        comm: str | None = None,
        exe: str | None = None,
        uid: int | None = None,
        cgroup: str | None = None,
        container: str | None = None,
        ns_pid: int | None = None,
        labels: Mapping[str, str] | None = None,
        limit: int | None = None,
    ) -> Call[StandingMatch]:
        """Hold all processes that fit, now and later: a standing match, until it is dropped.

        What runs already is held when this returns; a new process is within a second. At most
        ``limit`` are (1,000 by default).

        >>> match = peek.hold(comm="no-such-*", limit=3)
        >>> match.held, match.limit
        (0, 3)
        >>> peek.drop(match)
        """
        match = {
            "comm": comm,
            "exe": exe,
            "uid": uid,
            "cgroup": cgroup,
            "container": container,
            "ns_pid": ns_pid,
        }
        return calls.hold(match, labels, limit)

    @operation
    def match(self, match: StandingMatch | str) -> Call[StandingMatch]:
        """Ask what a standing match holds now. NoSuchMatch if there is none of that id.

        >>> match = peek.hold(comm="no-such-*")
        >>> peek.match(match).targets
        []
        >>> peek.drop(match)
        """
        return calls.standing_match(match if isinstance(match, str) else match.id)

    @operation
    def matches(self) -> Call[list[StandingMatch]]:
        """List the standing matches of this client.

        >>> peek.matches()
        []
        """
        return calls.listed("/v1/matches", "matches", {}, StandingMatch.parse)

    @operation
    def drop(self, match: StandingMatch | str) -> Call[None]:
        """End a standing match. NoSuchMatch if there is none of that id.

        >>> peek.drop(peek.hold(comm="no-such-*"))
        """
        return calls.drop(match if isinstance(match, str) else match.id)
