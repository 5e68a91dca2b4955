"""Commands that take something from `farpeek doctor`, and its findings under them."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from support import confined, landlocked

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Command = tuple[str, ...]
Found = dict[str, dict[str, Any]]

TOP = Path(__file__).resolve().parents[2]
NOBODY = 65_534
FARPEEK: Command = (sys.executable, "-m", "farpeek_api")
OWN_PIDS: Command = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")
LANDLOCKED: Command = (sys.executable, landlocked.__file__)


def findings(command: Command, *flags: object, timeout: float = 120) -> Found:
    """Run `farpeek doctor` by a command that changes what it may do; its findings by gate."""
    done = subprocess.run(
        [*command, "doctor", "--json", *map(str, flags)],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        cwd="/",
    )
    assert done.returncode in (0, 1), (command, done.stderr)
    found: Found = {each["gate"]: each for each in json.loads(done.stdout)["findings"]}
    blocked = any(each["verdict"] == "blocks" for each in found.values())
    assert done.returncode == blocked, (done.returncode, done.stdout)
    return found


def as_user(*flags: str, uid: int = NOBODY, gid: int = NOBODY) -> Command:
    """As another user; `FARPEEK` is in it."""
    runner = str(Path(__file__).with_name("as_user.py"))
    return (sys.executable, runner, str(uid), str(gid), *flags, "--")


def shell(script: str, then: Command) -> Command:
    """Do something before, in the same process."""
    return ("sh", "-ec", f'{script}\nexec "$@"', "sh", *then)


def in_mounts(script: str, then: Command) -> Command:
    """Do it in a mount namespace of its own."""
    return ("unshare", "--mount", "--propagation", "private", *shell(script, then))


def under(profile: Path, then: Command) -> Command:
    """Under a seccomp profile, as container runtimes install it."""
    return (sys.executable, confined.__file__, str(profile), *then)


def refusing(folder: Path, rule: Mapping[str, object], then: Command = FARPEEK) -> Command:
    """Under a seccomp filter that has one rule, and allows all else."""
    path = folder / "refusing.json"
    path.write_text(json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}))
    return under(path, then)


def answering(call: str, code: int, **comparison: int) -> dict[str, object]:
    """Make the rule by which a call gets an errno, where one argument is so."""
    compared = [{**comparison, "op": "SCMP_CMP_EQ"}] if comparison else []
    return {"names": [call], "action": "SCMP_ACT_ERRNO", "errnoRet": code, "args": compared}


def killing(call: str) -> dict[str, object]:
    """Make the rule by which a call ends who makes it."""
    return {"names": [call], "action": "SCMP_ACT_KILL_PROCESS"}


def makers(path: Path) -> set[tuple[str, str]]:
    """Give each function of a module that makes a finding, with its verdict, but for what is fine.

    By the source: what no test ever comes to is there as well.
    """
    return {
        (f"{path.stem}.{function.name}", verdict)
        for function in ast.walk(ast.parse(path.read_text()))
        if isinstance(function, ast.FunctionDef)
        for verdict in _verdicts(function)
    }


def _verdicts(function: ast.FunctionDef) -> Iterator[str]:
    for node in ast.walk(function):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Finding":
            verdict = node.args[1]
            assert isinstance(verdict, ast.Attribute), f"{function.name}: name the verdict"
            if verdict.attr != "FINE":
                yield verdict.attr.lower()
