"""Running a function of the tests in a pid namespace of its own."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

_HERE = Path(__file__).resolve().parent.parent
_UNSHARE = ("unshare", "--pid", "--fork", "--kill-child", "--mount", "--mount-proc")


def can_have_a_private_pid_namespace() -> bool:
    """Return whether these privileges suffice for one."""
    return subprocess.run([*_UNSHARE, "true"], capture_output=True, check=False).returncode == 0


def call_in_private_pid_namespace(where: str, patience_s: float, **arguments: object) -> Any:  # noqa: ANN401
    """Call ``module:function`` as process 2 of a new pid namespace with its own /proc.

    Its answer must be JSON. Whatever it starts dies with the namespace, so that the numbers in
    there are the test's own to reuse.
    """
    command = [
        *_UNSHARE,
        *(sys.executable, "-m", "support.namespaces", where, json.dumps(arguments)),
    ]
    done = subprocess.run(
        command,
        cwd=_HERE,
        stdout=subprocess.PIPE,
        text=True,
        timeout=patience_s,
        check=False,
    )
    assert done.returncode == 0, f"{where} ended with status {done.returncode} in its namespace"
    return json.loads(done.stdout.splitlines()[-1])


def _main() -> int:
    """Be the first process there: reap orphans, and end with the one that does the work."""
    worker = os.fork()
    if worker:
        while True:
            pid, status = os.wait()
            if pid == worker:
                return os.waitstatus_to_exitcode(status) & 0xFF
    module, _, name = sys.argv[1].partition(":")
    function = getattr(importlib.import_module(module), name)
    sys.stdout.write(json.dumps(function(**json.loads(sys.argv[2]))) + "\n")
    sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(_main())
