"""A client of farpeek: `Client` for programs that wait, `AsyncClient` for those that await.

Nothing of the server is imported with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from farpeek_api.client.client import AsyncClient, Client
from farpeek_api.client.problems import (
    AccessDenied,
    AlreadyTraced,
    Ambiguous,
    AuditUnavailable,
    BadAnswer,
    Deadline,
    ExpectationFailed,
    FileRemote,
    Forbidden,
    IncompleteRead,
    Internal,
    Interrupted,
    Invalid,
    Malformed,
    MethodNotAllowed,
    NodeOffline,
    NoFile,
    NoSuchMatch,
    NoSuchProcess,
    NoSuchTarget,
    NotAcceptable,
    NotFound,
    PeekError,
    Problem,
    RangeBeyond,
    RangeUnreadable,
    ShuttingDown,
    SlowRequest,
    TargetChanged,
    TargetExited,
    TargetStuck,
    TooBusy,
    TooLarge,
    TooLate,
    Unauthenticated,
    UnknownNode,
    Unreachable,
    Unsupported,
    UnsupportedExpectation,
    UnsupportedMediaType,
    UpgradeRequired,
)
from farpeek_api.client.results import (
    Exit,
    FileInfo,
    Gap,
    MappedRegion,
    Process,
    ReadResult,
    Registers,
    StandingMatch,
    TargetInfo,
    Thread,
)
from farpeek_api.client.target import AsyncTarget, Target

if TYPE_CHECKING:
    from farpeek_api.client.cores import Core, CoreGap
    from farpeek_api.client.events import Event
    from farpeek_api.client.files import AsyncMemoryFile, MemoryFile
    from farpeek_api.client.fleet import AsyncFleet, Fleet
    from farpeek_api.client.node_answers import NodeAnswer, NodeInfo
    from farpeek_api.client.pieces import Piece, Sums
    from farpeek_api.client.plans import Plan, PlanResult
    from farpeek_api.client.ranges import Dump
    from farpeek_api.client.searches import SearchDone, SearchMatch, SearchProgress
    from farpeek_api.client.stream import AsyncStream, Stream
    from farpeek_api.client.subscriptions import AsyncSubscription, Subscription
    from farpeek_api.client.ticks import Left, Tick
    from farpeek_api.client.writing import WriteResult

__all__ = [
    "AccessDenied",
    "AlreadyTraced",
    "Ambiguous",
    "AsyncClient",
    "AsyncFleet",
    "AsyncMemoryFile",
    "AsyncStream",
    "AsyncSubscription",
    "AsyncTarget",
    "AuditUnavailable",
    "BadAnswer",
    "Client",
    "Core",
    "CoreGap",
    "Deadline",
    "Dump",
    "Event",
    "Exit",
    "ExpectationFailed",
    "FileInfo",
    "FileRemote",
    "Fleet",
    "Forbidden",
    "Gap",
    "IncompleteRead",
    "Internal",
    "Interrupted",
    "Invalid",
    "Left",
    "Malformed",
    "MappedRegion",
    "MemoryFile",
    "MethodNotAllowed",
    "NoFile",
    "NoSuchMatch",
    "NoSuchProcess",
    "NoSuchTarget",
    "NodeAnswer",
    "NodeInfo",
    "NodeOffline",
    "NotAcceptable",
    "NotFound",
    "PeekError",
    "Piece",
    "Plan",
    "PlanResult",
    "Problem",
    "Process",
    "RangeBeyond",
    "RangeUnreadable",
    "ReadResult",
    "Registers",
    "SearchDone",
    "SearchMatch",
    "SearchProgress",
    "ShuttingDown",
    "SlowRequest",
    "StandingMatch",
    "Stream",
    "Subscription",
    "Sums",
    "Target",
    "TargetChanged",
    "TargetExited",
    "TargetInfo",
    "TargetStuck",
    "Thread",
    "Tick",
    "TooBusy",
    "TooLarge",
    "TooLate",
    "Unauthenticated",
    "UnknownNode",
    "Unreachable",
    "Unsupported",
    "UnsupportedExpectation",
    "UnsupportedMediaType",
    "UpgradeRequired",
    "WriteResult",
]

# Whoever reads once needs neither asyncio nor wsproto, which take 60 ms, nor what dumps need.
_LATER = {
    "AsyncFleet": "fleet",
    "Fleet": "fleet",
    "NodeAnswer": "node_answers",
    "NodeInfo": "node_answers",
    "AsyncMemoryFile": "files",
    "AsyncStream": "stream",
    "AsyncSubscription": "subscriptions",
    "Core": "cores",
    "CoreGap": "cores",
    "Dump": "ranges",
    "Event": "events",
    "Left": "ticks",
    "MemoryFile": "files",
    "Piece": "pieces",
    "Plan": "plans",
    "PlanResult": "plans",
    "SearchDone": "searches",
    "SearchMatch": "searches",
    "SearchProgress": "searches",
    "Stream": "stream",
    "Subscription": "subscriptions",
    "Sums": "pieces",
    "Tick": "ticks",
    "WriteResult": "writing",
}


def __getattr__(name: str) -> object:
    """Import a name when it is asked for (PEP 562)."""
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib  # noqa: PLC0415 - rarely asked for

    try:
        found = getattr(importlib.import_module(f"{__name__}.{_LATER[name]}"), name)
    except ModuleNotFoundError as error:
        if error.name != "nats":
            raise
        raise ImportError("nodes are reached by nats-py: pip install 'farpeek[fleet]'") from error
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    """List all names, those that come later, too."""
    return __all__
