"""The table of docs/platforms.md, of what `checks` said on each machine.

python -m platforms.table MACHINE=FILE ...   FILE has what the machine has written
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Final

from platforms.checks import CHECKS, MARK

DOCUMENT: Final = Path(__file__).resolve().parents[2] / "docs" / "platforms.md"
_BEGIN, _END = "<!-- platforms: begin -->\n", "<!-- platforms: end -->\n"
_ROWS: Final = {
    "demo": "`farpeek demo`",
    "kinds": "kinds of pages as in [nowait.md](nowait.md)",
    "nowait": "`nowait`",
    "residency": "residency",
    "guards": "guard pages",
    "maps": "mappings, each with its build id",
    "write": "writes, in both modes",
    "exits": "exit and reap are told",
    "reap": "the reap, by",
    "exit_status": "exit status, by",
    "prefetch": "`prefetch`",
    "tags": "tagged pointers, over all routes",
}
"""What the table has: checks, and capabilities by their names in /v1/info."""

Said = dict[str, str]


def said(text: str) -> Said:
    """Take apart what a machine has written; SystemExit unless all checks went well."""
    found: Said = {}
    for line in text.splitlines():
        _, mark, rest = line.partition(MARK)  # the firmware's words may be in front of the first
        if not mark:
            continue
        told: dict[str, Any] = json.loads(rest)
        if not told["well"]:
            raise SystemExit(f"{told['check']}:\n{told['shown']}")
        shown = told["shown"]
        found.update(shown if isinstance(shown, dict) else {told["check"]: shown})
    missing = set(CHECKS) - {"capabilities", *found}
    if missing:
        raise SystemExit(f"not tried: {', '.join(missing)}")
    return found


def table(machines: dict[str, Said]) -> str:
    """Write the table; a column for each machine."""
    lines = [f"| | {' | '.join(machines)} |", f"| --- |{' --- |' * len(machines)}"]
    for name, words in _ROWS.items():
        cells = [each[name].replace("|", "\\|") for each in machines.values()]
        lines.append(f"| {words} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main(arguments: list[str]) -> None:
    """See the module's docstring."""
    machines = {}
    for argument in arguments:
        name, _, file = argument.partition("=")
        machines[name] = said(Path(file).read_text(errors="replace"))
    head, _, rest = DOCUMENT.read_text().partition(_BEGIN)
    _, _, tail = rest.partition(_END)
    DOCUMENT.write_text(f"{head}{_BEGIN}{table(machines)}{_END}{tail}")


if __name__ == "__main__":
    main(sys.argv[1:])
