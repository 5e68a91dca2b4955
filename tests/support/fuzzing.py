"""Fuzzing a service by its document, with schemathesis, in a pid namespace that nobody else is in.

This module has its hooks, too. They come by SCHEMATHESIS_HOOKS into the process that fuzzes, which
gets the target by FUZZED_TARGET, and an address in it by FUZZED_ADDRESS.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import schemathesis

from support.described import Described
from support.folders import open_folder
from support.namespaces import call_in_private_pid_namespace
from support.serving import Reply
from support.targets import start
from support.wire import Served

if TYPE_CHECKING:
    from schemathesis import Case, CheckContext, HookContext, Response

DOCUMENT = Path(__file__).parents[2] / "api" / "openapi.json"
LONGEST = 1 << 20
"""Bytes of a range; with holes as zeros it could be 64 GiB."""

LONGEST_S = 3600

NOT_AFTER, LATEST = "Farpeek-Not-After", "9" * 19

ENDLESS = ("events", "stream")
DEEP = ("plan",)
"""Steps within steps: schemathesis takes gigabytes for them. `tests/fuzz` has bodies of plans."""

CHECKS = (
    *("status_code_conformance", "content_type_conformance"),
    *("response_headers_conformance", "response_schema_conformance"),
    *("negative_data_rejection", "missing_required_header", "unsupported_method"),
    *("use_after_free", "ensure_resource_availability", "ignored_auth"),
    *("nothing_unforeseen", "as_described"),
)
"""Without `positive_data_acceptance`: JSON schema cannot say that columns are of one length, or
that the first address of a range is before its last."""

_SHORT_S = 0.02


def fuzz(*, arguments: list[str], most_s: float) -> dict[str, Any]:
    """Fuzz a service of its own; how that ended, what it shows, and what the service logged."""
    with (
        open_folder() as folder,
        Served(folder, "--listen", "http://127.0.0.1:0", "--allow-writes") as served,
        start("plain", "--name", "ruby") as process,
    ):
        token = (served.path.parent / "token").read_text().strip()
        environment = {
            "SCHEMATHESIS_HOOKS": "support.fuzzing",
            "PYTHONPATH": str(Path(__file__).parents[1]),
            "FUZZED_TARGET": served.register(process.pid),
            "FUZZED_ADDRESS": hex(process["marker"]),
        }
        command = [
            *(sys.executable, "-m", "schemathesis.cli", "run", str(DOCUMENT)),
            *("--url", f"http://127.0.0.1:{served.port}"),
            *("--header", f"Authorization: Bearer {token}"),
            *("--checks", ",".join(CHECKS), "--request-timeout", "30"),
            *(word for name in (*ENDLESS, *DEEP) for word in ("--exclude-operation-id", name)),
            *("--generation-database", "none", "--no-color", "--warnings", "off", *arguments),
        ]
        done = subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=most_s,
        )
        assert served.request("GET", "/readyz").status == 200
        return {"status": done.returncode, "output": done.stdout, "log": served.log}


@schemathesis.check
def nothing_unforeseen(_context: CheckContext, response: Response, _case: Case) -> None:
    """Fail for what nobody foresaw, which is documented as well."""
    assert response.status_code != 500, response.text


@schemathesis.check
def as_described(_context: CheckContext, response: Response, case: Case) -> None:
    """Fail for what the document does not know, to the last member."""
    headers = {name.lower(): values[0] for name, values in response.headers.items()}
    reply = Reply(response.status_code, headers, response.content)
    _described().answer(case.method, case.operation.path, reply)


@cache
def _described() -> Described:
    return Described(json.loads(DOCUMENT.read_bytes()))


@schemathesis.hook
def map_case(_context: HookContext, case: Case) -> Case:
    """Bound what a case may take; put the real target and its addresses into every other one."""
    query: dict[str, Any] = case.query if isinstance(case.query, dict) else {}
    if query.get("wait") == "exit" and _is_number(query.get("timeout_s", 1)):
        query["timeout_s"] = _SHORT_S
    if case.headers and str(case.headers.get(NOT_AFTER, "")).isdecimal():
        case.headers[NOT_AFTER] = LATEST  # else nothing else would be looked at
    if "gaps" in query and _is_long(case):
        del query["gaps"]
    if case.method == "DELETE" and _is_meant_to_work(case):
        query.pop("all", None)  # the target is ours as well, for as long as nobody says so
    if _is_meant_to_work(case) and _is_even(case):
        _meet_the_target(case)
    return case


def _is_number(value: object) -> bool:
    try:
        return float(str(value)) > 0
    except ValueError:
        return False


def _is_long(case: Case) -> bool:
    headers: dict[str, Any] = dict(case.headers or {})
    first, _, last = str(headers.get("Range", "")).partition("=")[2].partition("-")
    if not (first.isdigit() and last.isdigit()):
        return False
    return int(last) - int(first) > LONGEST


def _is_meant_to_work(case: Case) -> bool:
    """Whether nothing in it is wrong on purpose, which would be put right here."""
    return case.meta is None or case.meta.generation.mode.is_positive


def _is_even(case: Case) -> bool:
    """Decide by what the case is, so that the same seed gives the same cases."""
    return len(repr((case.path_parameters, case.body))) % 2 == 0


def _meet_the_target(case: Case) -> None:
    target, address = os.environ["FUZZED_TARGET"], os.environ["FUZZED_ADDRESS"]
    path: dict[str, Any] = case.path_parameters if isinstance(case.path_parameters, dict) else {}
    if "id" in path and "targets" in case.operation.path and case.method != "DELETE":
        path["id"] = target
    if not isinstance(case.body, dict):
        return
    body = cast("dict[str, Any]", case.body)
    _put_addresses(body, address)
    reads = body.get("reads")
    for each in reads if isinstance(reads, list) else []:
        if isinstance(each, dict) and "target" in each:
            _put_addresses(each, address)
            each["target"] = target


def _put_addresses(body: dict[str, Any], address: str) -> None:
    addresses = body.get("addresses")
    if isinstance(addresses, list):
        body["addresses"] = [
            each if number % 2 else address for number, each in enumerate(addresses)
        ]


def _main() -> int:
    done = call_in_private_pid_namespace(
        "support.fuzzing:fuzz", LONGEST_S, arguments=sys.argv[1:], most_s=LONGEST_S
    )
    sys.stdout.write(done["output"])
    return int(done["status"])


if __name__ == "__main__":
    sys.exit(_main())
