"""A client that is generated from the document talks to a real service."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from support.sample import Sample
    from support.wire import Served

DOCUMENT = Path(__file__).parents[3] / "api" / "openapi.json"

_PROGRAM = """
import base64, json, sys
from generated import AuthenticatedClient, Client
from generated.api.memory import get_memory, readv, readv_many
from generated.api.service import info
from generated.api.targets import get_target, list_mappings, register, release
from generated.models import ManyReadsRequest, ReadOf, ReadRequest, RegisterRequest

url, token, pid, address = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
client = AuthenticatedClient(base_url=url, token=token)
told = info.sync(client=client)
target = register.sync(client=client, body=RegisterRequest(pid=pid))
read = readv.sync(target.id, client=client, body=ReadRequest([hex(address), "0x10"], [16, 4]))
many = readv_many.sync(
    client=client, body=ManyReadsRequest([ReadOf(addresses=[address], lengths=8, target=target.id)])
)
range_ = f"bytes={address}-{address + 15}"
memory = get_memory.sync(target.id, client=client, range_=range_)
holding = list_mappings.sync(target.id, client=client, address=hex(address), residency=True)
refused = get_target.sync("1-1", client=client)
stranger = info.sync(client=Client(base_url=url))
released = release.sync_detailed(target.id, client=client)
print(json.dumps({
    "api": told.api,
    "pid": target.pid,
    "data": base64.b64decode(read.data).hex(),
    "reasons": [str(gap.reason.value) for gap in read.gaps],
    "many": base64.b64decode(many.results[0].data).hex(),
    "memory": memory.payload.read().hex(),
    "mappings": [int(each.start, 16) <= address < int(each.end, 16) for each in holding.mappings],
    "refused": [type(refused).__name__, refused.type_, refused.target],
    "stranger": type(stranger).__name__,
    "released": released.status_code,
}))
"""


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the package `generated` in it."""
    folder = tmp_path_factory.mktemp("client")
    settings = folder / "settings.yaml"
    settings.write_text(json.dumps({"post_hooks": []}))  # ruff would only make it nicer
    command = [
        *(sys.executable, "-m", "openapi_python_client", "generate", "--meta", "none"),
        *("--path", str(DOCUMENT), "--output-path", str(folder / "generated")),
        *("--config", str(settings)),
    ]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_it_registers_and_reads(generated: Path, served: Served, sample: Sample) -> None:
    token = (served.path.parent / "token").read_text().strip()
    url = f"http://127.0.0.1:{served.port}"
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, url, token, str(sample.pid), str(sample.address)],
        env={**os.environ, "PYTHONPATH": str(generated)},
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "api": "v1",
        "pid": sample.pid,
        "data": sample.bytes(0, 16).hex() + "00000000",
        "reasons": ["unmapped"],
        "many": sample.bytes(0, 8).hex(),
        "memory": sample.bytes(0, 16).hex(),
        "mappings": [True],
        "refused": ["NoSuchTargetProblem", "urn:farpeek:problem:no-such-target", "1-1"],
        "stranger": "UnauthenticatedProblem",
        "released": 204,
    }
