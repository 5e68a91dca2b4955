"""The shapes of answers about the service: what it can do here, and how it is doing.

Clients ignore members that they do not know. A text below a member is its description.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence  # noqa: TC003 - pydantic looks at all of these
from typing import Literal

from typing_extensions import TypedDict

from farpeek_api.http.values import Time  # noqa: TC001


class Alive(TypedDict):
    """The event loop turns."""

    status: Literal["ok"]


class Ready(TypedDict):
    """Requests are taken."""

    status: Literal["ready"]


class Ticket(TypedDict):
    """A credential for one stream."""

    ticket: str
    """Offered as the protocol `farpeek.ticket.TICKET`, beside `farpeek.v1`."""
    expires_in_s: int
    """How long it is good, if it is not used."""


class Capability(TypedDict):
    """One thing that the service can do here, or cannot."""

    provided: Literal["native", "emulated", "unavailable"]
    technique: str
    """How."""
    detail: str
    """More about that; why not, where it is unavailable."""


class ThreadCounts(TypedDict):
    """Threads that read memory."""

    busy: int
    idle: int
    stuck: int
    """They hang in the kernel."""


class TargetCounts(TypedDict):
    """Targets that are held."""

    running: int
    exited: int


class StuckThreads(TypedDict):
    """Threads that hang in the kernel for one target."""

    target: str
    mode: str
    """What they were doing: `wait`, `nowait`, `bulk`, `bulk-nowait`, `maps`, `prefetch`."""
    threads: int
    since: Time


class Connections(TypedDict):
    """Connections that are open, and how many may be."""

    open: int
    unknown: int
    """Of those who have shown nothing."""
    most: int


class Info(TypedDict):
    """What the service can do here, its bounds, and how it is doing."""

    version: str
    api: Literal["v1"]
    kernel: str
    architecture: str
    capabilities: Mapping[str, Capability]
    """By name: `process_vm`, `pidfd`, `nowait`, `write`, `exit_status`, `reap`, `residency`,
    `guards`, ..."""
    limits: Mapping[str, float]
    """Every bound by its name; most have a setting of the same name."""
    listeners: Sequence[str]
    connections: Connections
    threads: ThreadCounts
    targets: TargetCounts
    held_bytes: int
    """Of `max_inflight_bytes`."""
    stuck: Sequence[StuckThreads]


class Cure(TypedDict):
    """What to change, by where the service runs; empty where there is nothing to say."""

    host: str
    docker: str
    kubernetes: str


class Finding(TypedDict):
    """One gate that decides about access."""

    gate: str
    verdict: Literal["blocks", "limits", "note", "fine"]
    here: str
    """What it says on this host."""
    effect: str
    """What follows from that."""
    cure: Cure


class Examination(TypedDict):
    """All findings, the worst first."""

    findings: Sequence[Finding]
