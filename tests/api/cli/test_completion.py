"""`farpeek completion` in the shells themselves, at a terminal."""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING

import pexpect
import pyte
import pytest

from farpeek_api.__main__ import main
from farpeek_api.cli import completion, statuses
from support.commands import run
from support.waiting import PATIENCE_S, until

if TYPE_CHECKING:
    from pathlib import Path

START = {
    "bash": ["--norc", "--noprofile", "-i"],
    "zsh": ["-f", "-i"],
    "tcsh": ["-f", "-i"],
}
LOAD = {
    "bash": "PS1=; source {}",
    "zsh": "PS1=; fpath=($PWD $fpath); autoload -U compinit; compinit -u -D",
    "tcsh": "set prompt=; source {}",
}


@pytest.mark.parametrize("shell", completion.SHELLS)
@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("farpeek teles", "farpeek telescope "),
        ("farpeek compl", "farpeek completion "),
        ("farpeek watch 1 0 8 --js", "farpeek watch 1 0 8 --json "),
        ("farpeek serve --allow-w", "farpeek serve --allow-writes "),
        ("farpeek write 1 0 --file ./a-fi", "farpeek write 1 0 --file ./a-file"),
        ("farpeek read 1 0 1 --mode now", "farpeek read 1 0 1 --mode nowait "),
    ],
)
def test_a_shell_completes_commands_options_files_and_choices(
    folder: Path, shell: str, typed: str, completed: str
) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"there is no {shell} here (Debian: apt-get install {shell})")
    if shell == "tcsh" and ("--file" in typed or "--mode" in typed):
        pytest.skip("tcsh completes commands and options; shtab's script knows no more of it")
    script = folder / "_farpeek"
    script.write_text(run("completion", shell).text)
    (folder / "a-file").touch()
    environment = {"PATH": os.environ["PATH"], "TERM": "xterm", "HOME": str(folder)}
    process = pexpect.spawn(
        shell, START[shell], cwd=str(folder), env=environment, timeout=PATIENCE_S
    )
    screen = pyte.Screen(80, 24)
    stream = pyte.ByteStream(screen)

    def shows(text: str) -> bool:
        with suppress(pexpect.TIMEOUT):
            stream.feed(process.read_nonblocking(1 << 16, timeout=0.1))
        return any(line.startswith(text) for line in screen.display)

    try:
        process.sendline(f"{LOAD[shell].format(script)}; echo loa''ded")
        until(lambda: shows("loaded"), "the script is loaded")
        process.send(f"{typed}\t")
        until(lambda: shows(completed), f"{screen.display} has {completed!r}")
    finally:
        process.close(force=True)


@pytest.mark.parametrize("shell", completion.SHELLS)
def test_a_script_is_one_to_its_shell(folder: Path, shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"there is no {shell} here")
    script = folder / "script"
    script.write_text(run("completion", shell).text)
    done = subprocess.run([shell, "-n", script], check=False, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_wrong_shell_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["completion", "basch"])
    assert end.value.code == statuses.USAGE
    assert "did you mean bash?" in capsys.readouterr().err
