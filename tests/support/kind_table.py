"""The table of page kinds in docs/nowait.md: measured here, or on another kernel, and written.

python -m support.kind_table measure            prints what each way gives of each kind
python -m support.kind_table write FILE FILE    puts what was printed, on two kernels, in its place
"""

from __future__ import annotations

import sys
import tempfile
from collections import defaultdict
from pathlib import Path

from farpeek.access.probe import probe
from support.expectations import DIFFERENCES, ROWS, WAITS, Way
from support.kind_reads import hung_server, outcome, process_of, read, readable, rearm
from support.kinds import PAGE, page_kinds

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "nowait.md"
_BEGIN, _END = "<!-- kinds: begin -->\n", "<!-- kinds: end -->\n"
_NONE = "-"  # the kernel does not have the kind, or the way
_WORDS = {
    "file_evicted": "a page of a file on a disk, evicted",
    "file_evicted_random": "the same, MADV_RANDOM",
    "file_cached": "a page of a file on a disk, in the page cache only",
    "file_mapped": "a page of a file on a disk, mapped",
    "file_written": "the private copy of one",
    "fuse_mapped": "a page of a file on FUSE, mapped",
    "fuse_cached": "the same, in the page cache only",
    "fuse_cold": "the same, not in memory",
    "fuse_random": "the same, MADV_RANDOM",
    "fuse_hung": "the same, the server answers no reads",
    "fuse_hung_random": "the same, MADV_RANDOM",
    "fuse_hung_all": "the same, the server answers nothing",
}
Measured = dict[str, dict[str, str]]
"""By the way, by the kind."""


def measure() -> None:
    """Print a line for each way and kind: both, and what came of it, tabs between."""
    capabilities = probe()
    with (
        tempfile.TemporaryDirectory() as folder,
        page_kinds(Path(folder)) as kinds,
        process_of(kinds) as process,
    ):
        for way in Way:
            access = way.access(capabilities)
            if access is None:
                continue
            can = readable(kinds, way)
            with hung_server(kinds):
                for name in kinds.names:
                    if name not in can:
                        print(way, name, WAITS, sep="\t")  # noqa: T201 - what it is for
                        continue
                    rearm(kinds, name)
                    result, _ = read(access, process, [(kinds.page(name), PAGE)])
                    print(way, name, outcome(kinds, name, result), sep="\t")  # noqa: T201


def write(measured: Measured) -> None:
    """Put the table, and what is to be said about it, between the marks of the document."""
    text = DOCUMENT.read_text()
    head, _, rest = text.partition(_BEGIN)
    _, _, tail = rest.partition(_END)
    DOCUMENT.write_text(f"{head}{_BEGIN}{_table(measured)}\n{differences()}{_END}{tail}")


def _table(measured: Measured) -> str:
    lines = [f"| kind | {' | '.join(Way)} |", f"| --- |{' --- |' * len(Way)}"]
    for name in ROWS:
        cells = [_cell(measured, way, name) for way in Way]
        words = f": {_WORDS[name]}" if name in _WORDS else ""
        lines.append(f"| `{name}`{words} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _cell(measured: Measured, way: Way, name: str) -> str:
    """What was measured; with all that may come instead, where the kernel's state decides."""
    found = measured[way].get(name)
    if found is None:
        return _NONE
    allowed = ROWS[name].by(way)
    if found not in allowed:
        raise ValueError(f"{way}: {name} gives {found}, and should give one of {sorted(allowed)}")
    return " or ".join(sorted(allowed))


def differences() -> str:
    """Return the lines that say why kinds differ between the emulation and the kernel's flag."""
    return "".join(f"- `{name}`: {words}\n" for name, words in DIFFERENCES.items())


def documented_kinds() -> list[str]:
    """Return the kinds in the document's table, in order."""
    table = DOCUMENT.read_text().partition(_BEGIN)[2].partition(_END)[0]
    return [line.split("`")[1] for line in table.splitlines() if line.startswith("| `")]


def main(arguments: list[str]) -> None:
    """See the module's docstring."""
    if arguments == ["measure"]:
        measure()
        return
    _write, *files = arguments
    measured: Measured = defaultdict(dict)
    for file in files:
        for line in Path(file).read_text().splitlines():
            way, _, rest = line.partition("\t")
            name, _, found = rest.strip().partition("\t")
            if way in set(Way):
                measured[way].setdefault(name, found)
    write(measured)


if __name__ == "__main__":
    main(sys.argv[1:])
