"""The service without the check that all rests on: the control of the run.

It watches its pidfds and answers 410 for what has exited, as ever. But no pidfd is asked behind a
read, nor between the pin and a write: what the number gave is believed. Put before the command of
a service (`BY_NUMBER`).
"""

from __future__ import annotations

import sys
from pathlib import Path

BY_NUMBER = (sys.executable, str(Path(__file__).resolve()))


def _never(_pidfd: int, _wait_ms: int = 0) -> bool:
    return False


def main() -> int:
    """Run `PYTHON -m farpeek_api ...` like that."""
    from farpeek.access import joint, process_ref, quick, verified  # noqa: PLC0415
    from farpeek.targets import cmdlines, processes, programs  # noqa: PLC0415

    for module in (process_ref, quick, verified, cmdlines, processes, programs):
        module.has_exited = _never
    joint.alive = lambda reads: reads
    # Nor is it found out that the memory is another program's.
    programs.Program.runs = lambda _self: True  # type: ignore[method-assign]

    from farpeek_api.__main__ import main as farpeek  # noqa: PLC0415

    return farpeek(sys.argv[sys.argv.index("farpeek_api") + 1 :])


if __name__ == "__main__":
    sys.exit(main())
