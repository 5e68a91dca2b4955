"""What was found, as a value."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """What a finding means; the first is the worst."""

    BLOCKS = "blocks"  # memory cannot be read at all, or not that of the process in question
    LIMITS = "limits"  # some processes, or some ways, are out of reach
    NOTE = "note"  # worth to know
    FINE = "fine"


@dataclass(frozen=True, slots=True)
class Cure:
    """What to change, by where the service runs; empty where there is nothing to say."""

    host: str = ""
    docker: str = ""
    kubernetes: str = ""


NONE = Cure()


@dataclass(frozen=True, slots=True)
class Finding:
    """One gate: ``here`` is what it says on this host, ``effect`` what follows from that."""

    gate: str
    verdict: Verdict
    here: str
    effect: str = ""
    cure: Cure = NONE


def worst_first(found: list[Finding]) -> list[Finding]:
    """Sort by verdict; findings that are alike stay in their order."""
    order = list(Verdict)
    return sorted(found, key=lambda finding: order.index(finding.verdict))
