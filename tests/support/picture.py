"""`python -m support.picture`: draws docs/images/session.svg, what a real session shows."""

from __future__ import annotations

import io
import os
import sys
import time
from pathlib import Path

import pexpect
from rich.console import Console
from rich.terminal_theme import DIMMED_MONOKAI
from rich.text import Text

from support.folders import open_folder
from support.targets import build, start
from support.wire import Served

PICTURE = Path(__file__).resolve().parents[2] / "docs" / "images" / "session.svg"
COLUMNS = 96

SESSION = (
    "farpeek maps comm=shop -w heap",
    "farpeek read comm=shop orders --type pointer",
    "farpeek read comm=shop '*orders' 48",
    "farpeek telescope comm=shop orders -n 1",
    "farpeek read comm=shop '[heap]-16' 32",
    "farpeek watch comm=shop served --type u64 --hz 20 --ticks 3 | cat",
)

# As rich's own, but for the fonts that it would fetch from elsewhere.
_FORMAT = """<svg viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{
  font-family: ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace;
  font-size: {char_height}px; line-height: {line_height}px; font-variant-east-asian: full-width;
}}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/>
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">{matrix}</g>
</g>
</svg>
"""


def take() -> str:
    """Type the session in a terminal; what that gets, with its colours."""
    shown = ""
    with open_folder() as folder, Served(folder) as served, start("shop"):
        environment = {
            **os.environ,
            "FARPEEK_URL": f"unix:{served.path}",
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "TERM": "xterm-256color",
        }
        environment.pop("NO_COLOR", None)
        for line in SESSION:
            shell = pexpect.spawn(
                "bash", ["-c", line], env=environment, dimensions=(50, COLUMNS), encoding="utf-8"
            )
            shell.expect(pexpect.EOF)
            shown += f"\x1b[1;32m$\x1b[0m {line}\r\n{shell.before}"
            shell.close()
            time.sleep(0.05)
    return shown


def main() -> int:
    """Draw it."""
    build("shop")
    console = Console(
        record=True,
        width=COLUMNS,
        file=io.StringIO(),
        force_terminal=True,
        color_system="truecolor",
    )
    console.print(Text.from_ansi(take().replace("\r\n", "\n")))
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_text(
        console.export_svg(title="", theme=DIMMED_MONOKAI, code_format=_FORMAT, unique_id="f")
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
