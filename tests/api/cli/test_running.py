"""What all client commands have in common: statuses, messages, where the service is."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from farpeek_api import output
from farpeek_api.cli import running, statuses
from farpeek_api.cli.commands import COMMANDS
from farpeek_api.cli.show.escape import width
from farpeek_api.client.problems import slugs
from support.commands import Screen, run
from support.odd_server import OddServer, answer
from support.serving import Service

if TYPE_CHECKING:
    from pathlib import Path

    from support.sample import Sample
    from support.wire import Served


def test_each_problem_of_the_service_has_an_exit_status() -> None:
    assert statuses.OF_SLUGS.keys() == slugs().keys()


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_what_all_have(name: str) -> None:
    options = running.parser(name).format_help()
    for option in ("--url", "--token-file", "Exit status: 0 done"):
        assert option in options
    shows_something = name not in ("ui", "gdb", "lldb", "rsp")
    for option in ("--json", "--curl"):
        assert (option in options) == shows_something


@pytest.mark.parametrize(
    ("words", "cure"),
    [
        (["tagrets"], "there is no command 'tagrets': did you mean targets?"),
        (["xyz"], "`farpeek --help`"),
        (["targets", "--jsn"], "no such option as '--jsn': did you mean --json?"),
        (["targets", "\x1b[31m"], r"one word too many, '\x1b[31m'"),
        (["targets", "--state", "runing"], "did you mean running?"),
        (["targets", "--url", "tcp:1"], "write unix:PATH, http://HOST:PORT or https://"),
        (["targets", "--url", "unix:x"], "begins with /"),
        (["targets", "--token-file", "/nowhere/token"], "/nowhere/token cannot be read"),
    ],
)
def test_a_wrong_word_is_told_in_one_line_with_its_cure(words: list[str], cure: str) -> None:
    ran = run(*words)
    assert ran.status == statuses.USAGE
    assert ran.error.count("\n") == 1
    assert cure in ran.error
    assert not ran.output


# httpcore2 leaves its socket to the garbage collector where it cannot be connected.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("kind", ["unix", "http"])
def test_where_nobody_listens_the_cure_is_said(kind: str, folder: Path) -> None:
    url = {"unix": f"unix:{folder}/none.sock", "http": "http://127.0.0.1:1"}[kind]
    ran = run("targets", "--url", url)
    assert ran.status == statuses.FAILED
    assert "farpeek serve" in ran.error
    assert "--url" in ran.error
    assert url in ran.error
    assert ran.error.count("\n") == 1


def test_a_token_is_read_from_its_file_and_never_shown(served: Served, folder: Path) -> None:
    token = served.path.with_name("token")
    url = f"http://127.0.0.1:{served.port}"
    refused = run("targets", "--url", url)
    assert refused.status == statuses.NOT_ALLOWED
    assert "--token-file" in refused.error
    assert run("targets", "--url", url, "--token-file", token).status == statuses.DONE
    wrong = folder / "token"
    wrong.write_text("# nothing\n")
    assert "has no token in it" in run("targets", "--url", url, "--token-file", wrong).error
    shown = run("targets", "--url", url, "--token-file", token, "--curl")
    assert token.read_text().strip() not in shown.text
    done = subprocess.run(["sh", "-c", shown.text], check=True, capture_output=True, text=True)
    assert done.stdout.startswith('{"targets":')


_WRITERS = (["targets", "--json"], ["completion", "bash"], ["token", "new", "name"])


@pytest.mark.parametrize("words", _WRITERS, ids=lambda words: words[0])
def test_a_closed_pipe_ends_it_quietly(words: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "farpeek_api", *words],
        check=False,
        stdout=writer,
        stderr=subprocess.PIPE,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (output.PIPE_CLOSED, b"")


_HELPS = (["--help"], ["read", "--help"], ["serve", "--help"], ["fleet", "--help"])


@pytest.mark.parametrize("words", [*_WRITERS, *_HELPS], ids=" ".join)
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_disk_is_told(words: list[str], unbuffered: str) -> None:
    """Once: Python itself, or argparse, would say nothing of it, or say it again at the end."""
    with open("/dev/full", "w") as full:  # noqa: PTH123 - no file
        done = subprocess.run(
            [sys.executable, "-m", "farpeek_api", *words],
            check=False,
            stdout=full,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
        )
    prog = "farpeek" if words[0].startswith("-") else f"farpeek {words[0]}"
    assert done.stderr.decode() == f"{prog}: the output: No space left on device\n"
    assert done.returncode == statuses.FAILED


def test_ctrl_c_ends_it_with_130_and_no_traceback(folder: Path) -> None:
    # A service that takes the connection, and never answers.
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(folder / "silent.sock"))
        silent.listen()
        with Screen("targets", "--url", f"unix:{folder}/silent.sock") as shown:
            connection, _ = silent.accept()
            with connection:
                connection.recv(1)
                shown.process.sendintr()
                assert shown.finish() == statuses.INTERRUPTED
            assert shown.lines in ([], ["^C"])
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_without_an_output_nothing_is_shown_and_all_is_well() -> None:
    command = f"{sys.executable} -m farpeek_api targets >&-; echo $? >&2"
    done = subprocess.run(["bash", "-c", command], check=True, capture_output=True)
    assert done.stderr == b"0\n"


def test_an_option_before_the_command_is_told_where_it_goes() -> None:
    ran = run("--url", "unix:/x", "targets")
    assert ran.status == statuses.USAGE
    assert "farpeek COMMAND --url" in ran.error


def test_a_service_of_another_version_is_told_with_what_it_lacks(folder: Path) -> None:
    with OddServer(folder / "odd.sock", answer(200, b'{"targets": [{"id": "1-1"}]}')) as server:
        ran = run("targets", "--url", f"unix:{server.path}")
    assert ran.status == statuses.FAILED
    assert "lacks `" in ran.error
    assert "another version" in ran.error
    assert ran.error.count("\n") == 1


def test_what_the_kernel_refuses_is_status_5(folder: Path, sample: Sample) -> None:
    with Service(folder, uid=1000) as service:
        ran = run("read", sample.pid, hex(sample.address), 8, "--url", f"unix:{service.path}")
    assert ran.status == statuses.NOT_ALLOWED
    assert ran.error.count("\n") == 1


def test_a_pid_of_another_pid_namespace_is_asked_about(served: Served) -> None:
    command = f"{sys.executable} -m farpeek_api"
    read = f"{command} read $! '[stack]' 8"
    script = f"sleep 1000 & {read}; echo $?; {read} --pid-namespace caller; echo $?; kill $!"
    done = subprocess.run(
        ["unshare", "--pid", "--fork", "--mount-proc", "bash", "-c", script],
        check=False,
        capture_output=True,
        text=True,
    )
    if "Operation not permitted" in done.stderr:
        pytest.skip("no pid namespaces can be made here")
    assert done.stdout.splitlines()[0] == "2"
    assert done.stdout.splitlines()[-1] == "0"
    assert "--pid-namespace caller" in done.stderr
    assert re.search(r"caller: pid \d+  comm=sleep", done.stderr)
    assert served.process.poll() is None


@pytest.mark.parametrize("columns", [80, 40])
@pytest.mark.parametrize("words", ["ps", "targets", "maps PID", "info", "read PID [stack] 64"])
def test_no_line_is_longer_than_the_terminal_is_wide(
    columns: int, words: str, sample: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    ran = run(*words.replace("PID", str(sample.pid)).split())
    assert ran.lines
    assert max(map(width, ran.lines)) <= columns


def test_signs_that_the_encoding_lacks_are_no_reason_to_fail(sample: Sample) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "farpeek_api", "maps", str(sample.pid), "stack"],
        check=True,
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )
    assert b"#" in done.stdout
    assert done.stdout.isascii()
