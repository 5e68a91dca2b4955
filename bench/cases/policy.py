"""What a policy costs, by the least read there is, and what it costs with an audit of all reads."""

from __future__ import annotations

import os
import tempfile
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from bench import processes
from bench.cases.two_services import AT_MOST, ROUNDS, compared
from bench.framework import Case

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.framework import Prepared

_WITH, _WITHOUT = "readv 8 B, with a policy", "readv 8 B, without"
_AUDITED = "readv 8 B, with a policy and an audit"
_AUDITED_AT_MOST = 1.05
_POLICY = f"""\
[clients.bench]
unix_uid = {os.geteuid()}
verbs = ["register", "read"]
targets = [{{ exe = "/usr/bin/ruby*", uid = 0 }}, {{ exe = "/*" }}]
deny = [{{ exe = "*/vault*" }}]
"""


@contextmanager
def _prepare(name: str, at_most: float, *, audited: bool) -> Iterator[Prepared]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        policy = folder / "policy.toml"
        policy.write_text(_POLICY)
        policy.chmod(0o600)
        audit = folder / "audit" if audited else "none"
        starts = {
            name: partial(processes.service, "--policy", policy, "--audit", audit),
            _WITHOUT: partial(processes.service, "--audit", "none"),
        }
        yield stack.enter_context(compared(starts, at_most))


CASE = Case(
    "policy",
    "8 B over the unix socket, with and without a policy; client and server on one core",
    partial(_prepare, _WITH, AT_MOST, audited=False),
    rounds=ROUNDS,
)
AUDITED = Case(
    "audit",
    "8 B over the unix socket, with a policy and an audit, and without; on one core",
    partial(_prepare, _AUDITED, _AUDITED_AT_MOST, audited=True),
    rounds=ROUNDS,
)
