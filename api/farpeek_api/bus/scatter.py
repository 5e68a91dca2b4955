"""One request to many nodes: their answers as they come, and at the end who has given none.

Nobody's word is taken for who was asked: a node answers under its own name alone, which the broker
proves. Who should have answered is known from heartbeats (`roster`); without these, from a roll
call, which each node's agent answers at once.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final

import nats.errors

from farpeek_api.bus import messages, problems, subjects
from farpeek_api.bus.answers import Answer
from farpeek_api.bus.asking import Question, is_from_nobody, is_kept, new_number
from farpeek_api.bus.holding import MOST, MOST_EACH, WINDOW, Holding, Part
from farpeek_api.bus.problems import LOST, NOBODY, Refusal
from farpeek_api.bus.replies import Outcome, Reply, refused
from farpeek_api.bus.roster import Offline, Roster

if TYPE_CHECKING:
    from collections.abc import (
        AsyncGenerator,
        Awaitable,
        Callable,
        Sequence,
    )

    from nats.aio.msg import Msg
    from nats.aio.subscription import Subscription

    from farpeek_api.bus.asking import Asking
    from farpeek_api.bus.replies import How, Whom
    from farpeek_api.bus.roster import Heartbeat

MOST_NODES: Final = 65_536
_FIRST_PROBLEM: Final = 400
_SETTLE_S: Final = 1.0


class Scatter:
    """One request to many nodes. Iterate over it, once; it ends after ``timeout_s`` at the latest.

    Raises Refusal where the broker does not let it be asked, and if the connection to it ends:
    behind what has come by then, and those nodes of which nothing has.
    """

    def __init__(  # noqa: PLR0913 - all after the first three have a default
        self,
        asking: Asking,
        question: Question,
        whom: Whom,
        *,
        timeout_s: float = 10.0,
        settle_s: float = _SETTLE_S,
        roster: Roster | None = None,
        most: int = MOST,
    ) -> None:
        """``most``: bytes of answers that may be held for whoever takes them."""
        if question.not_after is not None and len(whom.nodes) != 1:
            raise ValueError("a deadline is by the clock of one node: name that one, and no other")
        self._asking = asking
        self._question = question
        self._whom = whom
        self._timeout_s = timeout_s
        self._settle_s = settle_s
        self._roster = roster or Roster(asking)
        self._number = new_number()
        self._parts: dict[str, Part] = {}
        self._over: set[str] = set()
        self._waiting: set[str] = set(whom.nodes)
        """Nodes that should answer, and have not."""
        self._gone: dict[str, Heartbeat] = {}
        """Nodes whose heartbeats have ended. One of them may answer still."""
        self._is_known = bool(whom.nodes)
        """Whether all who should answer are expected, as far as that can be known."""
        self._ready: deque[tuple[Reply, int]] = deque()
        self._holding = Holding(most)
        self._news = asyncio.Event()
        self._latest = 0.0
        self._failed: Refusal | None = None
        self._tasks: set[asyncio.Task[object]] = set()
        self._subscriptions: list[Subscription] = []
        self.outcome = Outcome()

    def __aiter__(self) -> AsyncGenerator[Reply]:
        """Give each node's reply as it comes; those that have given none, at the end."""
        return self._replies()

    async def _replies(self) -> AsyncGenerator[Reply]:
        loop = asyncio.get_running_loop()
        end = loop.time() + self._timeout_s
        self._latest = loop.time()
        try:
            self._start(self._begin)
            while await self._wait(end):
                while self._ready:
                    reply, held = self._ready.popleft()
                    self.outcome.add(reply)
                    yield reply
                    self._holding.release(held)
            for reply in self._left():
                self.outcome.add(reply)
                yield reply
            if self._failed is not None:
                raise self._failed
        finally:
            await self._close()

    def add(self, came: Refusal) -> None:
        """Take what stands against all of it: the broker's refusal, or its end."""
        self._failed = self._failed or came
        self._news.set()

    def refused(self, node: str, refusal: Refusal) -> None:
        """Take what the broker says of one node that was named."""
        if refusal.kind is LOST:
            self.add(refusal)
        elif refusal.kind is NOBODY:
            self._start(partial(self._find_out_about, node))
        else:
            self._end(node, refused(node, refusal, "refused"))

    # What is asked

    async def _begin(self) -> None:
        """Ask, and find out who should answer."""
        if self._whom.nodes:
            for node in self._whom.nodes:
                await self._ask(node)
            return
        inbox = self._asking.inbox(self._number)
        await self._listen(f"{inbox}.*", self._came)
        await self._listen(inbox, self._told)
        await self._put(self._question, inbox)
        heartbeats = await self._roster.heartbeats()
        if heartbeats is None:
            await self._call_the_roll()
        else:
            self._expect(list(heartbeats.values()))

    async def _ask(self, node: str) -> None:
        """Ask a node by its name, with an inbox of its own: NATS says there if it is not there."""
        answer = Answer(self._asking, node, new_number(), 1, WINDOW)
        part = self._parts[node] = Part(self.refused, answer)
        inbox = self._asking.inbox(answer.number)

        async def came(msg: Msg) -> None:
            if msg.subject == f"{inbox}.{node}" and not is_kept(msg):
                self._heard(node, msg)

        async def told(msg: Msg) -> None:
            if is_from_nobody(msg) and part.count:  # it was there, and has begun to answer
                answer.add(Refusal(NOBODY, ""))
            elif is_from_nobody(msg):
                self.refused(node, Refusal(NOBODY, ""))

        answer.subscriptions = [
            await self._asking.listen(f"{inbox}.*", came),
            await self._asking.listen(inbox, told),
        ]
        subject = subjects.request(self._asking.name, node, self._question.operation)
        written = self._question.written() | {messages.CREDIT: "1"}
        await self._asking.publish(subject, self._question.body, inbox, written, part)

    async def _put(self, question: Question, inbox: str) -> None:
        subject = subjects.request(self._asking.name, self._whom.name, question.operation)
        written = question.written() | {messages.CREDIT: "1"}
        await self._asking.publish(subject, question.body, inbox, written, self)

    async def _call_the_roll(self) -> None:
        """Have each node say that it is there."""
        inbox = self._asking.inbox(new_number())

        async def here(msg: Msg) -> None:
            node = msg.subject.removeprefix(f"{inbox}.")
            if (
                _is_name(node)
                and not is_kept(msg)
                and len(self._waiting) < MOST_NODES
                and node not in self._over
            ):
                self._waiting.add(node)
                self._touch()

        await self._listen(f"{inbox}.*", here)
        await self._put(Question(subjects.CLOCK, timeout_s=self._timeout_s), inbox)

    def _expect(self, heartbeats: Sequence[Heartbeat]) -> None:
        """Wait for those that are there, as of the latest heartbeat; the others are told of."""
        now = max((each.at for each in heartbeats), default=None)
        label = self._whom.label
        for each in heartbeats[:MOST_NODES]:
            if label is not None and each.labels.get(label[0]) != label[1]:
                continue
            if now is not None and not each.was_there(now):
                self._gone[each.node] = each
            elif each.node not in self._over:
                self._waiting.add(each.node)
        self._is_known = True
        self._news.set()

    async def _find_out_about(self, node: str) -> None:
        self._end(node, refused(node, await self._roster.refusal(node), "silent"))

    # What comes

    async def _came(self, msg: Msg) -> None:
        node = msg.subject.rpartition(".")[2]
        if _is_name(node) and not is_kept(msg):
            self._heard(node, msg)

    async def _told(self, msg: Msg) -> None:
        """Take what NATS says of a node that is there no more; not every version says which."""
        about = subjects.parse((msg.headers or {}).get(_ABOUT, ""))
        part = None if about is None else self._parts.get(about.node)
        if is_from_nobody(msg) and part is not None:
            part.answer.add(Refusal(NOBODY, ""))

    def _heard(self, node: str, msg: Msg) -> None:
        """Take one message of a node; it is checked by whoever puts the answer together."""
        if node in self._over:
            return
        part = self._parts.get(node)
        if part is None:
            if len(self._parts) + len(self._over) >= MOST_NODES:
                return
            part = Part(self.refused, Answer(self._asking, node, self._number, 1, WINDOW))
            self._parts[node] = part
            self._waiting.add(node)
        refusal = self._holding.take(part, msg)
        if refusal is not None:
            self._end(node, refused(node, refusal, "silent"))
            return
        part.answer.add(msg)
        self._touch()
        if part.task is None:
            is_whole = messages.END in messages.folded(msg.headers)
            part.task = self._start(partial(self._take, part, is_whole=is_whole))

    async def _take(self, part: Part, *, is_whole: bool) -> None:
        """Put a node's answer together."""
        answer = part.answer
        try:
            if not is_whole:
                await self._holding.wait_for_turn(part)
            body = await answer.whole(MOST_EACH)
            how: How = "answered" if answer.status < _FIRST_PROBLEM else "refused"
            reply = Reply(answer.node, how, answer.status, answer.headers, body)
        except Refusal as refusal:
            # What a node says itself is no silence.
            is_own = refusal.kind not in _NOT_WHOLE
            reply = refused(answer.node, self._said(refusal), "refused" if is_own else "silent")
        finally:
            self._holding.end_turn(part)
        self._end(answer.node, reply)

    def _end(self, node: str, reply: Reply) -> None:
        """Take no more of a node: this is its reply."""
        if node in self._over:
            return
        self._over.add(node)
        self._waiting.discard(node)
        part = self._parts.pop(node, None)
        self._ready.append((reply, self._holding.keep(reply)))
        if part is not None:
            self._holding.release(part.held)
            if part.task is not None and part.task is not asyncio.current_task():
                part.task.cancel()
            self._start(part.answer.close)
        self._touch()

    def _touch(self) -> None:
        """Something has happened."""
        self._latest = asyncio.get_running_loop().time()
        self._news.set()

    # When it is over

    async def _wait(self, end: float) -> bool:
        """Wait until there is a reply; False where none is waited for any more."""
        loop = asyncio.get_running_loop()
        while not self._ready:
            now = loop.time()
            quiet = self._latest + self._settle_s
            is_settled = (self._is_known and not self._gone) or now >= quiet
            is_over = is_settled and not self._waiting
            if self._failed is not None or is_over or now >= end:
                return False
            self._news.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout_at(end if is_settled else min(end, quiet)):
                    await self._news.wait()
        return True

    def _left(self) -> list[Reply]:
        """Name those that have not answered, or not wholly."""
        found: list[Reply] = []
        for node in sorted(self._waiting):
            part = self._parts.get(node)
            came = f"only {part.held} bytes" if part is not None and part.count else "nothing"
            refusal = self._failed or Refusal(
                problems.DEADLINE, f"{came} of its answer came within {self._timeout_s:g} s"
            )
            found.append(refused(node, self._said(refusal), "silent"))
        for node, heartbeat in sorted(self._gone.items()):
            if node not in self._over and node not in self._waiting:
                found.append(refused(node, Offline(heartbeat), "silent"))
        return found

    def _said(self, refusal: Refusal) -> Refusal:
        """Say of what changes something that it may have been done: it is not sent again."""
        if self._question.not_after is None or refusal.kind not in _NOT_WHOLE:
            return refusal
        look = "it may have been done: look before you send it again"
        return Refusal(problems.OUTCOME_UNKNOWN, f"{refusal}: {look}")

    async def _close(self) -> None:
        for each in self._tasks:
            each.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._asking.forget(self)
        if not self._asking.is_connected:
            return
        with suppress(nats.errors.Error, OSError):
            if self._waiting and not self._whom.nodes:
                await self._asking.cancel(self._whom.name, self._number)
            for part in self._parts.values():
                await part.answer.close()
            for subscription in self._subscriptions:
                await subscription.unsubscribe()

    async def _listen(self, subject: str, came: Callable[[Msg], Awaitable[None]]) -> None:
        self._subscriptions.append(await self._asking.listen(subject, came))

    def _start(self, what: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
        """Do something beside all else; the end of the connection is the end of all."""

        async def done() -> None:
            try:
                await what()
            except* Refusal as refusals:
                self.add(_first(refusals))
            except* (nats.errors.Error, OSError):
                self.add(Refusal(LOST, "the connection to the broker has ended"))

        task = asyncio.create_task(done())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


_NOT_WHOLE: Final = (problems.BROKEN, NOBODY, LOST, problems.DEADLINE)
_ABOUT: Final = "Nats-Subject"


def _first(refusals: BaseExceptionGroup[Refusal]) -> Refusal:
    found = refusals.exceptions[0]
    return _first(found) if isinstance(found, BaseExceptionGroup) else found


def _is_name(node: str) -> bool:
    try:
        subjects.check_node(node)
    except subjects.WrongName:
        return False
    return True
