"""The service, which counts its own objects when it is asked to (SIGUSR1).

Memory alone is no measure of a leak: allocators keep what was freed. Put before the command of a
service (`COUNTED`); it writes the counts to the file that the variable names.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from support.waiting import until

if TYPE_CHECKING:
    from types import FrameType

COUNTED = (sys.executable, "-m", "endurance.soak.counted")
VARIABLE = "ENDURANCE_COUNTS"

_TESTS = Path(__file__).resolve().parents[2]
_OF_EVENTS = frozenset(
    {"Claim", "Event", "ExitStatus", "Identity", "TargetSnapshot", "dict", "tuple"}
)
"""What the ring of the last events is made of."""


def environment(counts: Path) -> dict[str, str]:
    """Return the variables that it needs."""
    return {VARIABLE: str(counts), "PYTHONPATH": str(_TESTS)}


def objects(pid: int, counts: Path) -> Counter[str]:
    """Have a service count, by the names of classes."""
    counts.unlink(missing_ok=True)
    os.kill(pid, signal.SIGUSR1)
    until(counts.exists, "the service has counted")
    return Counter(json.loads(counts.read_text()))


def grown(before: Counter[str], after: Counter[str]) -> Counter[str]:
    """Return what there is more of, but for events and what they are made of."""
    return Counter(
        {name: more for name, more in (after - before).items() if name not in _OF_EVENTS}
    )


def _count(_number: int, _frame: FrameType | None) -> None:
    gc.collect()
    counted = Counter(type(each).__qualname__ for each in gc.get_objects())
    path = Path(os.environ.get(VARIABLE, os.devnull))
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(counted))
    fresh.rename(path)


def main() -> int:
    """Run `PYTHON -m farpeek_api ...` like that."""
    signal.signal(signal.SIGUSR1, _count)

    from farpeek_api.__main__ import main as farpeek  # noqa: PLC0415

    return farpeek(sys.argv[sys.argv.index("farpeek_api") + 1 :])


if __name__ == "__main__":
    sys.exit(main())
