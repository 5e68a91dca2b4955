"""`farpeek sampler`: what all nodes of a fleet read again and again, put once."""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from farpeek_api.cli import broker, parsers, statuses
from farpeek_api.cli.errors import CommandError, WrongWord
from farpeek_api.cli.show.escape import one_line
from farpeek_api.cli.words import amounts
from farpeek_api.cli.words import target as target_words

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from nats.aio.msg import Msg

    from farpeek_api.bus.connecting import Connected
    from farpeek_api.bus.samplers import Name
    from farpeek_api.bus.scatter import Scatter

_EPILOG: Final = """\
put   have every node read what fits, as long as it is there
ls    say how each of yours is, on each node
rm    take one away
tail  show samples as they come: node, target, tick, bytes; `lost` are those that did not

  farpeek sampler put heads comm=ruby --region 0x7f0000001000 64 --hz 10 --until 1h
  farpeek sampler put --file sampler.json heads
  farpeek sampler tail heads

Each node decides by its policy whether you may; docs/fleet.md has the members of a file.
"""
_VERBS: Final = ("put", "ls", "rm", "tail")
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_TIMEOUT_S: Final = 5.0
_MARK_S: Final = 24 * 3600
_MOST_SHOWN: Final = 32
_MOST_WAITING: Final = 4096
_FULL: Final = "maximum messages exceeded"
"""What nats-server says of a stream that takes no more."""


def parser() -> parsers.Parser:
    """Make the command's parser."""
    made = parsers.Parser(
        "farpeek sampler",
        description="Have all nodes of a fleet sample processes, until you say otherwise.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("what", choices=_VERBS, type=parsers.one_of(*_VERBS))
    made.add_argument("name", metavar="NAME", nargs="?", help="what you call it")
    made.add_argument(
        "match", metavar="MATCH", nargs="?", help="processes: comm=NAME, exe=*/NAME, uid=N, ..."
    )
    made.add_argument("--file", metavar="FILE", type=Path, help="a sampler, as JSON (- for stdin)")
    made.add_argument(
        "--region",
        metavar=("ADDRESS", "LENGTH"),
        nargs=2,
        action="append",
        default=[],
        help="what is read (repeatable)",
    )
    made.add_argument("--plan", metavar="FILE", type=Path, help="or a plan, as JSON")
    made.add_argument(
        "--hz",
        metavar="N",
        type=parsers.positive("number of ticks a second", 100),
        default=1.0,
        help="ticks a second (default: 1)",
    )
    made.add_argument(
        "--mode",
        choices=("nowait", "wait"),
        type=parsers.one_of("nowait", "wait"),
        default="nowait",
        help="wait: have what is missing read in (default: nowait)",
    )
    made.add_argument("--changed-only", action="store_true", help="leave out what is as before")
    made.add_argument(
        "--until", metavar="TIME", help="30s, 10m, 1h, 2d from now, or 2030-12-31T00:00:00Z"
    )
    made.add_argument(
        "--limit",
        metavar="N",
        type=parsers.whole(1, 1000),
        default=64,
        help="processes of one node (default: 64)",
    )
    made.add_argument(
        "--count",
        metavar="N",
        type=parsers.whole(1, 1_000_000_000),
        help="tail: end after so many samples",
    )
    made.add_argument("--json", action="store_true", help="ls, tail: print JSON, an object a line")
    broker.arguments(made.add_argument_group("the fleet"))
    return made


def main(arguments: Sequence[str]) -> int:
    """Do it; the exit status."""
    own = parser()
    chosen = own.parse_args(arguments)
    if chosen.what != "ls" and not chosen.name:
        own.error(f"which sampler? farpeek sampler {chosen.what} NAME")
    act = _ACTS[chosen.what]
    try:
        words = broker.Words.find(chosen)
        return asyncio.run(act(chosen, words))
    except CommandError as error:
        sys.stderr.write(one_line(f"farpeek sampler: {error}") + "\n")
        return error.status


async def _put(chosen: argparse.Namespace, words: broker.Words) -> int:
    text = _text(chosen)
    async with broker.connected(words, "sampler") as connected:
        name = _name(chosen, words)
        await _check_room(connected, name)
        await _keep(connected, name, text, {})
    _line(f"{name.name}: put for {name.client}; `farpeek sampler ls` says how it is on each node")
    return statuses.DONE


async def _rm(chosen: argparse.Namespace, words: broker.Words) -> int:
    async with broker.connected(words, "sampler") as connected:
        deletion = {"KV-Operation": "DEL", "Nats-TTL": f"{_MARK_S}s"}
        await _keep(connected, _name(chosen, words), b"", deletion)
    return statuses.DONE


async def _check_room(connected: Connected, name: Name) -> None:
    """Ask a node how many are kept already: the broker does not tell that. Raises CommandError."""
    from farpeek_api.bus import samplers  # noqa: PLC0415 - it takes nats-py, as all below

    scatter = _asking(connected)
    async for reply in scatter:
        if reply.how == "answered":
            said = json.loads(reply.body)
            kept = {each["name"] for each in said["samplers"]}
            count = len(kept) + said.get("beyond", 0)
            if count >= samplers.MOST_KEPT and name.name not in kept:
                raise CommandError(
                    f"{name.client} keeps {count} samplers, and {samplers.MOST_KEPT} are the most: "
                    "take one away (`farpeek sampler ls` lists them, `farpeek sampler rm NAME`)"
                )
            return


def _asking(connected: Connected) -> Scatter:
    from farpeek_api.bus import subjects  # noqa: PLC0415
    from farpeek_api.bus.asking import Question  # noqa: PLC0415
    from farpeek_api.bus.replies import Whom  # noqa: PLC0415
    from farpeek_api.bus.scatter import Scatter  # noqa: PLC0415

    return Scatter(
        connected.asking, Question(subjects.SAMPLERS), Whom.everybody(), timeout_s=_TIMEOUT_S
    )


async def _keep(connected: Connected, name: Name, text: bytes, headers: dict[str, str]) -> None:
    from farpeek_api.bus import kept  # noqa: PLC0415

    answer = await connected.client.request(name.key, text, timeout=_TIMEOUT_S, headers=headers)
    error = json.loads(answer.data or b"{}").get("error")
    if error is not None:
        said = str(error.get("description", error))
        if _FULL in said:
            raise CommandError(
                f"the fleet keeps {kept.MOST_SAMPLERS} samplers of all clients, and no more: "
                "`farpeek fleet setup` says who keeps too many, and has them taken away"
            )
        raise kept.NotKept(said)


async def _ls(chosen: argparse.Namespace, words: broker.Words) -> int:
    async with broker.connected(words, "sampler") as connected:
        scatter = _asking(connected)
        async for reply in scatter:
            if reply.how == "answered":
                _show_states(reply.node, json.loads(reply.body), as_json=chosen.json)
            else:
                why = reply.refusal or f"status {reply.status}"
                sys.stderr.write(one_line(f"farpeek sampler: {reply.node}: {why}") + "\n")
        outcome = scatter.outcome
    is_whole = not outcome.silent and not outcome.refused
    return statuses.DONE if is_whole else statuses.INCOMPLETE


def _show_states(node: str, said: dict[str, Any], *, as_json: bool) -> None:
    if "beyond" in said:
        sys.stderr.write(
            one_line(f"farpeek sampler: {node}: {said['beyond']} more are kept than looked at")
            + "\n"
        )
    for each in said["samplers"]:
        if as_json:
            _line(json.dumps({"node": node, **each}))
            continue
        counts = ""
        if "targets" in each:
            counts = (
                f"  {each['targets']} targets  {each['published']} samples  "
                f"{each['dropped']} dropped"
            )
        detail = f"  {each['detail']}" if each["detail"] else ""
        _line(f"{node}  {each['name']}  {each['state']}{counts}{detail}")


async def _tail(chosen: argparse.Namespace, words: broker.Words) -> int:
    async with broker.connected(words, "sampler") as connected:
        came: asyncio.Queue[Msg] = asyncio.Queue(1)  # what waits is bounded by the next
        subject = _name(chosen, words).samples("*")
        await connected.client.subscribe(  # pyright: ignore[reportUnknownMemberType] - nats-py leaves a future's type open
            subject, cb=came.put, pending_msgs_limit=_MOST_WAITING
        )
        counting = _Counting()
        left = chosen.count
        while left is None or left > 0:
            msg = await _next(connected, came)
            is_one = counting.show(msg, as_json=chosen.json)
            left = left - 1 if left is not None and is_one else left
    return statuses.DONE


async def _next(connected: Connected, came: asyncio.Queue[Msg]) -> Msg:
    """Wait for the next one, as long as the broker is there. Raises CommandError."""
    while True:
        try:
            async with asyncio.timeout(1):
                return await came.get()
        except TimeoutError:
            if not connected.client.is_connected:
                raise CommandError("the broker has ended the connection") from None


class _Counting:
    """Which samples have come, of each node."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[str, int]] = {}

    def show(self, msg: Msg, *, as_json: bool) -> bool:
        """Write a sample, and how many before it did not come; whether it is one."""
        from farpeek_api.bus import messages, subjects  # noqa: PLC0415
        from farpeek_api.client.framing import split_frame  # noqa: PLC0415
        from farpeek_api.client.members import Odd  # noqa: PLC0415

        asked = msg.subject.removeprefix(f"{subjects.PREFIX}.{subjects.UP}.").split(".")
        headers = messages.folded(msg.headers)
        try:
            shown, data = split_frame(msg.data)
            run, number = headers[messages.RUN], int(headers[messages.NUMBER])
        except (Odd, KeyError, ValueError):
            return False
        lost = self._lost(asked[0], run, number)
        if as_json:
            _line(json.dumps({"node": asked[0], "lost": lost, **shown.all, "data": data.hex()}))
            return True
        after = f"  ({lost} lost)" if lost else ""
        more = ".." if len(data) > _MOST_SHOWN else ""
        what = f"left: {shown.all['left']}" if "left" in shown.all else f"tick {shown.all['tick']}"
        shown_data = f"  {data[:_MOST_SHOWN].hex()}{more}" if data else ""
        _line(f"{asked[0]}  {shown.all.get('target')}  {what}{shown_data}{after}")
        return True

    def _lost(self, node: str, run: str, number: int) -> int:
        known, last = self._last.get(node, (run, number - 1))
        self._last[node] = run, number
        return max(0, number - last - 1) if known == run else 0


def _name(chosen: argparse.Namespace, words: broker.Words) -> Name:
    from farpeek_api.bus import samplers  # noqa: PLC0415

    try:
        return samplers.check(words.client, chosen.name)
    except ValueError as error:
        raise WrongWord(str(error)) from None


def _text(chosen: argparse.Namespace) -> bytes:
    """Write the sampler that was chosen. Raises WrongWord."""
    from farpeek_api.bus import samplers  # noqa: PLC0415

    if chosen.file is not None:
        text = _read(chosen.file)
    else:
        if not chosen.match:
            raise WrongWord("which processes? farpeek sampler put NAME comm=ruby, or --file FILE")
        text = json.dumps(_made(chosen)).encode()
    try:
        samplers.parse(text)
    except samplers.WrongSampler as error:
        raise WrongWord(f"the sampler is wrong: {error}") from None
    return text


def _made(chosen: argparse.Namespace) -> dict[str, Any]:
    made: dict[str, Any] = {
        "match": target_words.match(chosen.match),
        "hz": chosen.hz,
        "mode": chosen.mode,
        "changed_only": chosen.changed_only,
        "limit": chosen.limit,
    }
    if chosen.region:
        made["regions"] = [[_address(where), amounts.length(size)] for where, size in chosen.region]
    if chosen.plan is not None:
        try:
            made["plan"] = json.loads(_read(chosen.plan))
        except ValueError:
            raise WrongWord(f"{chosen.plan} is no JSON") from None
    if chosen.until is not None:
        made["until"] = _time(chosen.until).isoformat()
    return made


def _address(word: str) -> int:
    from farpeek_api.bus import samplers  # noqa: PLC0415

    found = int(word) if word.isascii() and word.isdecimal() else samplers.number(word)
    if found < 0:
        raise WrongWord(f"{word!r} is no address that all nodes have: write 0x and digits")
    return found


def _time(word: str) -> datetime:
    found = re.fullmatch(r"([0-9]{1,6})([smhd])", word)
    if found is not None:
        return datetime.now(UTC) + timedelta(seconds=int(found[1]) * _UNITS[found[2]])
    try:
        time = datetime.fromisoformat(word)
    except ValueError:
        time = None
    if time is None or time.tzinfo is None:
        raise WrongWord(f"{word!r} is no time: write 10m, 1h, or 2030-12-31T00:00:00Z")
    return time


def _read(path: Path) -> bytes:
    try:
        return sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
    except OSError as error:
        raise WrongWord(f"{path}: {error.strerror}") from None


def _line(text: str) -> None:
    sys.stdout.write(one_line(text) + "\n")
    sys.stdout.flush()


_ACTS: Final[dict[str, Callable[[argparse.Namespace, broker.Words], Coroutine[Any, Any, int]]]] = {
    "put": _put,
    "ls": _ls,
    "rm": _rm,
    "tail": _tail,
}
