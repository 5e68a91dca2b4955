"""What a service takes of the machine."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from support.reading import memory_of


@dataclass(frozen=True, slots=True)
class Footprint:
    """Of one process, at one moment."""

    descriptors: int
    threads: int
    memory_mib: float

    def __str__(self) -> str:
        return f"{self.descriptors} descriptors, {self.threads} threads, {self.memory_mib} MiB"

    def and_more(self, other: Footprint) -> Footprint:
        """Return the larger of each figure."""
        return Footprint(
            max(self.descriptors, other.descriptors),
            max(self.threads, other.threads),
            max(self.memory_mib, other.memory_mib),
        )

    def as_dict(self) -> dict[str, float]:
        return asdict(self)


def footprint(pid: int) -> Footprint:
    """Look at a process."""
    return Footprint(
        descriptors=sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir()),
        threads=sum(1 for _ in Path(f"/proc/{pid}/task").iterdir()),
        memory_mib=round(memory_of(pid) / (1 << 20), 1),
    )
