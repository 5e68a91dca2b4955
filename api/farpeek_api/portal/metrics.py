"""What the gateway counts of itself, for Prometheus, under the names that the service has for it.

A route of a node is counted as `/v1/nodes/{node}` and behind it the path of the operation, as long
as this version knows that: nodes choose no labels, and neither do clients.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from aiohttp import web
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from farpeek_api.audit.entry import DONE, GONE
from farpeek_api.bus import problems, roster
from farpeek_api.http import problems as of_service
from farpeek_api.operations import OPERATIONS
from farpeek_api.serving.counting import Numbers, counter

if TYPE_CHECKING:
    from collections.abc import Iterable

    from prometheus_client.metrics_core import Metric

    from farpeek.threads.budget import Budget
    from farpeek_api.fleet.callers import Callers
    from farpeek_api.fleet.nodes import Nodes

OTHER: Final = "other"
"""What nodes of another version call by names that are not known here."""

_PATHS: Final = {each.id: (each.method, each.path) for each in OPERATIONS}
_OUTCOMES: Final = frozenset(
    {
        *(DONE, GONE, OTHER),
        *of_service.rows(),
        *(each.slug for each in (*problems.KINDS, *problems.ASKING, roster.OFFLINE)),
    }
)


@dataclass(slots=True)
class Counted:
    """How one request is counted: whoever serves it says more of it."""

    route: str | None = None
    """None: as the table of routes has it."""
    outcome: str = DONE
    is_endless: bool = False
    """It goes on for as long as its client likes."""

    def of_some_node(self) -> None:
        """Count it as one of which it is not known yet what it asks for.

        Its method may be any word, so that is left out.
        """
        self.route = "* /v1/nodes/{node}/{path}"

    def of_node(self, method: str, operation: str) -> None:
        """Count it as an operation of a node."""
        path = _PATHS[operation][1] if operation in _PATHS else f"/{OTHER}"
        self.route = f"{method} /v1/nodes/{{node}}{path}"

    def of_many(self, operation: str) -> None:
        """Count it as an operation that many are asked for."""
        self.route = f"POST /v1/fleet/{operation if operation in _PATHS else OTHER}"

    def told(self, slug: str) -> None:
        """Note the problem that a node's own service has."""
        self.outcome = slug if slug in _OUTCOMES else OTHER


COUNTED: Final = web.RequestKey("counted", Counted)


class Metrics(Numbers):
    """All numbers of a gateway. Lives on the event loop."""

    def __init__(self, callers: Callers, nodes: Nodes, budget: Budget) -> None:
        super().__init__(_OUTCOMES)
        self._callers = callers
        self._nodes = nodes
        self._budget = budget

    def of_its_own(self) -> Iterable[Metric]:
        """Give what a gateway has."""
        yield GaugeMetricFamily(
            "farpeek_nodes_known", "Nodes that have told their operations", self._nodes.known
        )
        yield GaugeMetricFamily(
            "farpeek_node_answers",
            "Answers of single nodes that are under way, streams among them",
            self._nodes.open,
        )
        yield CounterMetricFamily(
            "farpeek_node_bytes", "Bytes that single nodes have answered", self._nodes.came
        )
        yield GaugeMetricFamily(
            "farpeek_broker_connections",
            "Connections to the broker, one for each client",
            self._callers.connected,
        )
        yield counter(
            "farpeek_broker_connects",
            "Tries to connect to the broker, by what has come of them",
            "outcome",
            self._callers.tries,
        )
        yield GaugeMetricFamily(
            "farpeek_inflight_bytes", "Bytes of the budget that are held", self._budget.used
        )
