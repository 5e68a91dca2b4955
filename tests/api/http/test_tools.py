"""Tools that nobody here has written do what docs/http.md says: curl, wget, Node and websockets."""

from __future__ import annotations

import asyncio
import base64
import json
import mmap
import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import websockets

from support import pieces, targets
from support.ending import ended
from support.frames import FRAME, IOV, iov, take_apart
from support.waiting import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from support.sample import Sample
    from support.wire import Served


PAGE = mmap.PAGESIZE


def tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"there is no {name} here (Debian: apt-get install {name})")
    return found


def run(*command: str, environment: Mapping[str, str] | None = None) -> bytes:
    """Run a tool that is to succeed; what it writes."""
    done = subprocess.run(
        command,
        capture_output=True,
        timeout=PATIENCE_S,
        check=False,
        env={**os.environ, **(environment or {})},
    )
    assert done.returncode == 0, done
    return done.stdout


@pytest.fixture
def token(served: Served) -> str:
    return (served.path.parent / "token").read_text().strip()


@pytest.fixture
def curl(served: Served) -> list[str]:
    return [tool("curl"), "--silent", "--show-error", "--unix-socket", str(served.path)]


def here(target: str, rest: str) -> str:
    return f"http://localhost/v1/targets/{target}{rest}"


def last_bytes(sample: Sample, length: int) -> str:
    """Write a Range that goes beyond what can be read, from ``length`` bytes before its end."""
    end = sample.address + sample.size
    return f"{end - length}-{end + 99}"


# curl, on the unix socket.


def test_curl_reads_regions(curl: list[str], target: str, sample: Sample) -> None:
    body = json.dumps({"addresses": [hex(sample.address)], "lengths": [16]})
    command = [*curl, "--json", body, here(target, "/readv")]
    shown = json.loads(run(*command))
    assert base64.b64decode(shown["data"]) == sample.bytes(0, 16)


def test_curl_takes_and_gives_what_is_binary(
    curl: list[str], target: str, sample: Sample, tmp_path: Path
) -> None:
    (tmp_path / "regions").write_bytes(iov([(sample.address + 1, 4), (sample.address, 2)]))
    kinds = ["-H", f"Content-Type: {IOV}", "-H", f"Accept: {FRAME}"]
    url = here(target, "/readv?mode=nowait")
    command = [*curl, *kinds, "--data-binary", f"@{tmp_path / 'regions'}", url]
    shown, data = take_apart(run(*command))
    assert shown["complete"]
    assert data == sample.bytes(1, 4) + sample.bytes(0, 2)


def test_curl_takes_a_range_up_to_what_can_be_read(
    curl: list[str], target: str, sample: Sample, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    ask = [*curl, "--range", last_bytes(sample, 5000), "--output", str(out)]
    command = [*ask, "--write-out", "%{http_code} %header{content-range}", here(target, "/memory")]
    end = sample.address + sample.size
    assert run(*command).decode() == f"206 bytes {end - 5000}-{end - 1}/*"
    assert out.read_bytes() == sample.bytes(sample.size - 5000, 5000)


def test_curl_has_a_range_again_only_if_it_has_changed(
    curl: list[str], target: str, sample: Sample, tmp_path: Path
) -> None:
    tag = str(tmp_path / "tag")
    ask = [
        *curl,
        "--range",
        f"{sample.address}-{sample.address + 99}",
        "--write-out",
        "%{http_code}",
    ]
    url = here(target, "/memory")
    out = str(tmp_path / "out")
    assert run(*ask, "--etag-save", tag, "--output", out, url) == b"206"
    assert run(*ask, "--etag-compare", tag, "--output", out, url) == b"304"


def test_curl_says_18_where_an_answer_ends_early(
    curl: list[str], served: Served, tmp_path: Path
) -> None:
    size = 256 << 20
    with targets.start("bulk", size // PAGE) as process:
        target = served.register(process.pid)
        start = process["block"]
        ask = [*curl, "--limit-rate", "64M", "--range", f"{start}-{start + size - 1}"]
        out = tmp_path / "out"
        command = [*ask, "--output", str(out), here(target, "/memory")]
        with ended(subprocess.Popen(command, stderr=subprocess.DEVNULL)) as transfer:
            while not (out.exists() and out.stat().st_size):
                assert transfer.poll() is None
            process.kill()
            assert transfer.wait(PATIENCE_S) == 18
        assert 0 < out.stat().st_size < size


def test_curl_is_told_events_as_they_happen(curl: list[str], served: Served) -> None:
    with targets.start("plain") as process:
        target = served.register(process.pid)
        ask = [*curl, "--no-buffer", "-H", "Last-Event-ID: 0"]
        command = [*ask, f"http://localhost/v1/events?target={target}"]
        with ended(subprocess.Popen(command, stdout=subprocess.PIPE, text=True)) as listening:
            assert listening.stdout is not None
            kinds: list[str] = []
            for line in listening.stdout:
                if not line.startswith("event: "):
                    continue
                kinds.append(line.split()[1])
                if kinds[-1] == "registered":
                    process.send("exit 7")
                    process.reap()
                if kinds[-1] == "reaped":
                    break
        assert kinds[-3:] == ["registered", "exited", "reaped"]


def test_curl_fails_with_a_problem_that_says_why(curl: list[str]) -> None:
    command = [*curl, "--fail-with-body", here("0-0", "")]
    done = subprocess.run(command, capture_output=True, check=False, timeout=PATIENCE_S)
    assert done.returncode == 22
    assert json.loads(done.stdout)["type"] == "urn:farpeek:problem:no-such-target"


# wget, over TCP.


@pytest.fixture
def wget(token: str) -> list[str]:
    authorization = f"--header=Authorization: Bearer {token}"
    return [tool("wget"), "--quiet", "--tries=1", authorization, "--output-document=-"]


def test_wget_reads_regions(wget: list[str], served: Served, target: str, sample: Sample) -> None:
    body = json.dumps({"addresses": [hex(sample.address)], "lengths": 16, "encoding": "hex"})
    post = ["--header=Content-Type: application/json", f"--post-data={body}"]
    url = f"http://127.0.0.1:{served.port}/v1/targets/{target}/readv"
    assert json.loads(run(*wget, *post, url))["data"] == sample.bytes(0, 16).hex()


def test_wget_takes_a_long_range_in_pieces(
    wget: list[str], served: Served, target: str, sample: Sample
) -> None:
    end = sample.address + sample.size
    body = json.dumps({"ranges": [[hex(end - (3 << 20)), hex(end + PAGE)]]})
    post = ["--header=Content-Type: application/json", f"--post-data={body}"]
    url = f"http://127.0.0.1:{served.port}/v1/targets/{target}/memory"
    found, sums = pieces.take_apart(run(*wget, *post, url))
    assert sums is not None
    assert sums["gaps"] == PAGE
    laid_out = pieces.laid_out(found, end - (3 << 20), end + PAGE)
    assert laid_out == sample.bytes(sample.size - (3 << 20), 3 << 20) + bytes(PAGE)


def test_wget_asks_for_a_range_without_an_end_and_is_refused(
    wget: list[str], served: Served, target: str, sample: Sample
) -> None:
    url = f"http://127.0.0.1:{served.port}/v1/targets/{target}/memory"
    command = [*wget, "--server-response", f"--start-pos={sample.address}", url]
    done = subprocess.run(command, capture_output=True, check=False, timeout=PATIENCE_S)
    assert done.returncode == 8, done
    assert b" 400 " in done.stderr


# Node's own fetch and WebSocket.

_NODE = """
const {URL_, TOKEN, TARGET, ADDRESS, LENGTH} = process.env;
const headers = {Authorization: `Bearer ${TOKEN}`};
const base = `${URL_}/v1/targets/${TARGET}`;
const regions = {addresses: ['0x' + BigInt(ADDRESS).toString(16)], lengths: Number(LENGTH)};
const takeApart = (frame) => {
  const size = new DataView(frame).getUint32(0);
  const shown = JSON.parse(new TextDecoder().decode(frame.slice(4, 4 + size)));
  return {...shown, bytes: Buffer.from(frame.slice(4 + size)).toString('hex')};
};
const post = (body, more = {}) => fetch(`${base}/readv`, {
  method: 'POST', body: JSON.stringify(body),
  headers: {...headers, 'Content-Type': 'application/json', ...more},
});
const say = (value) => console.log(JSON.stringify(value));
"""


@pytest.fixture
def environment(served: Served, token: str, target: str, sample: Sample) -> dict[str, str]:
    return {
        "URL_": f"http://127.0.0.1:{served.port}",
        "TOKEN": token,
        "TARGET": target,
        "ADDRESS": str(sample.address),
        "LENGTH": "40",
    }


def node(program: str, environment: Mapping[str, str], *flags: str) -> Any:  # noqa: ANN401 - JSON
    """Run a program in Node; what it says."""
    words = [tool("node"), "--no-warnings", *flags, "--input-type=module", "--eval"]
    return json.loads(run(*words, _NODE + program, environment=environment))


def test_fetch_of_node_reads_regions(environment: dict[str, str], sample: Sample) -> None:
    program = """
    const json = await (await post(regions)).json();
    const binary = await post(regions, {Accept: 'application/vnd.farpeek.frame'});
    const frame = takeApart(await binary.arrayBuffer());
    const refusal = await post({...regions, of_no_meaning: 1});
    say({json, frame, refusal: [refusal.status, (await refusal.json()).type]});
    """
    shown = node(program, environment)
    assert base64.b64decode(shown["json"]["data"]) == sample.bytes(0, 40)
    assert shown["frame"]["bytes"] == sample.bytes(0, 40).hex()
    assert shown["refusal"] == [422, "urn:farpeek:problem:invalid"]


def test_fetch_of_node_takes_a_long_range_and_events(
    environment: dict[str, str], sample: Sample
) -> None:
    program = """
    const range = {Range: `bytes=${ADDRESS}-${BigInt(ADDRESS) + 3145727n}`};
    const memory = await fetch(`${base}/memory`, {headers: {...headers, ...range}});
    let [bytes, last] = [0, null];
    for await (const part of memory.body) { bytes += part.length; last = part.at(-1); }
    const events = await fetch(`${URL_}/v1/events?target=${TARGET}`, {
      headers: {...headers, 'Last-Event-ID': '0'},
    });
    const first = new TextDecoder().decode((await events.body.getReader().read()).value);
    say({status: memory.status, bytes, last, type: events.headers.get('content-type'), first});
    process.exit(0);
    """
    shown = node(program, environment)
    size = 3 << 20
    assert (shown["status"], shown["bytes"]) == (206, size)
    assert shown["last"] == sample.bytes(size - 1, 1)[0]
    assert shown["type"].startswith("text/event-stream")
    assert shown["first"].startswith((":", "id:", "event:"))


def test_websocket_of_node_reads_and_subscribes(
    environment: dict[str, str], sample: Sample
) -> None:
    flag = "--experimental-websocket"
    allowed = f"say([typeof WebSocket, process.allowedNodeEnvironmentFlags.has('{flag}')])"
    kind, has_flag = node(allowed, environment)
    if kind == "undefined" and not has_flag:
        pytest.skip("this node has no WebSocket: it came with Node 20.10")
    program = """
    const socket = new WebSocket(`${URL_.replace('http', 'ws')}/v1/stream`, {headers});
    socket.binaryType = 'arraybuffer';
    const frames = [];
    socket.onopen = () => {
      socket.send(JSON.stringify({id: 1, target: TARGET, ...regions}));
      socket.send(JSON.stringify({id: 2, subscribe: {target: TARGET, ...regions, hz: 100}}));
    };
    socket.onmessage = ({data}) => {
      frames.push(takeApart(data));
      if (frames.filter(({tick}) => tick).length === 3) socket.send('{"unsubscribe": 2}');
      if (frames.at(-1).ended) socket.close(1000);
    };
    socket.onerror = (event) => { console.error(event.message ?? event.error); process.exit(1); };
    socket.onclose = ({code}) => say({frames, code});
    """
    flags = [flag] if kind == "undefined" else []
    shown = node(program, environment, *flags)
    assert shown["code"] == 1000
    (read,) = (frame for frame in shown["frames"] if frame["id"] == 1)
    assert read["bytes"] == sample.bytes(0, 40).hex()
    ticks = [frame for frame in shown["frames"] if "tick" in frame]
    assert ticks[0]["tick"] - ticks[0]["dropped"] == 1
    assert {frame["bytes"] for frame in ticks} == {sample.bytes(0, 40).hex()}
    assert shown["frames"][-1]["ended"] == "unsubscribed"


# Python's websockets.


async def test_websockets_of_python_read_and_subscribe(
    served: Served, target: str, sample: Sample
) -> None:
    columns = {"addresses": [sample.address], "lengths": [24]}
    async with websockets.unix_connect(str(served.path), "ws://localhost/v1/stream") as stream:
        for number in range(50):
            await stream.send(json.dumps({"id": number, "target": target, **columns}))
        answers = [take_apart(await _bytes(stream)) for _ in range(50)]
        assert {shown["id"] for shown, _ in answers} == set(range(50))
        assert {data for _, data in answers} == {sample.bytes(0, 24)}
        await stream.send(
            json.dumps({"id": 99, "subscribe": {"target": target, "hz": 200, **columns}})
        )
        assert take_apart(await _bytes(stream))[0]["subscribed"]
        shown, data = take_apart(await _bytes(stream))
        assert (shown["id"], data) == (99, sample.bytes(0, 24))
        assert await (await stream.ping()) >= 0


async def _bytes(stream: websockets.ClientConnection) -> bytes:
    async with asyncio.timeout(PATIENCE_S):
        message = await stream.recv()
    assert isinstance(message, bytes)
    return message
