"""The tools: what a model may ask for, and within which limits. None of them writes."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated, Final, Literal, TypeVar

import anyio
import anyio.to_thread
from mcp.server.mcpserver import Context  # noqa: TC002 - the SDK looks at annotations
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import InputRequiredResult  # noqa: TC002 - the same
from pydantic import Field

from farpeek_api.cli.assistants import looking
from farpeek_api.cli.assistants.approval import Approvals, Program
from farpeek_api.cli.assistants.handles import Found, NoSuchPage, Results
from farpeek_api.cli.assistants.untrusted import escaped, untrusted
from farpeek_api.cli.errors import CommandError
from farpeek_api.cli.explaining import explain
from farpeek_api.cli.words import target as target_words
from farpeek_api.client import TargetChanged, TargetExited
from farpeek_api.client.problems import PeekError

if TYPE_CHECKING:
    from collections.abc import Callable

    from farpeek_api.cli.assistants.approved import ApprovedTarget, ApprovingClient

T = TypeVar("T")

MOST_TARGETS: Final = 32
_AT_ONCE: Final = 4
_LONGEST_ERROR: Final = 500

Word = Annotated[str, Field(max_length=4096)]
TargetId = Annotated[str, Field(max_length=64, description="`target` as open_target gave it")]
Address = Annotated[
    str,
    Field(
        max_length=4096,
        description="0x7f.., decimal, [heap]+0x40, libc.so.6+0x1234, a symbol, file:symbol, "
        "*ADDRESS (what the pointer there points to), with +N and -N",
    ),
]
Number = Literal["u8", "u16", "u32", "u64", "i8", "i16", "i32", "i64", "f32", "f64"]
Type = Literal["bytes", "cstring", "pointer", Number]
Kind = Literal["text", "hex", "regex", "pointer_to", Number]


class Tools:
    """``peek`` is the service; what is approved and kept here ends with the session."""

    def __init__(self, peek: ApprovingClient, approvals: Approvals, results: Results) -> None:
        self._peek = peek
        self._approvals = approvals
        self._results = results
        self._approved: dict[str, ApprovedTarget] = {}
        self._limiter = anyio.CapacityLimiter(_AT_ONCE)

    @property
    def all(self) -> tuple[Callable[..., object], ...]:
        """All tools; their names and docstrings are what a model is told."""
        return (
            *(self.list_processes, self.open_target, self.memory_map, self.threads, self.read),
            *(self.search, self.follow_pointers, self.describe_address, self.result_page),
        )

    async def list_processes(
        self,
        pattern: Annotated[
            str | None, Field(max_length=4096, description="part of a name or path")
        ] = None,
    ) -> str:
        """List the processes that can be opened."""
        return await self._found(lambda: looking.processes(self._peek.processes(), pattern))

    async def open_target(
        self,
        process: Annotated[
            str, Field(max_length=4096, description="a pid, or comm=NAME, exe=*/NAME, uid=N")
        ],
        ctx: Context,
    ) -> str | InputRequiredResult:
        """Ask the person whether a process may be read. All other tools need its `target`.

        The approval is for the program that runs now: once it executes another one, ask again.
        """
        target = await self._in_thread(partial(self._register, process))
        program = Program(target.id, target.generation)
        known = self._approved.get(target.id)
        if known is None or known.generation != target.generation:
            self._approved.pop(target.id, None)
            if len(self._approved) >= MOST_TARGETS:
                raise ToolError(f"{MOST_TARGETS} targets are open, and no more can be")
            question = await self._approvals.ask(ctx, program, target.info)
            if question is not None:
                return question
            self._approved[target.id] = target
        info = target.info
        head = {
            "target": target.id,
            "pid": info.pid,
            "comm": untrusted(info.process.comm),
            "pointer_size": info.pointer_size,
            "byte_order": info.byte_order,
        }
        return self._results.first_page(Found(head, []))

    def _register(self, process: str) -> ApprovedTarget:
        word = target_words.parse(process)
        found = self._peek.target(word.pid if word.id is None else word.id, **word.match)
        try:
            return self._peek.approved(found.info)
        except ValueError:
            raise CommandError(
                "the service may not look at this program, so it cannot be read either"
            ) from None

    async def memory_map(
        self,
        target: TargetId,
        name: Annotated[
            str | None, Field(max_length=4096, description="part of a path, or [heap], [stack]")
        ] = None,
    ) -> str:
        """List what is mapped in a target, by address."""
        return await self._of(target, lambda each: looking.memory_map(each, name))

    async def threads(self, target: TargetId) -> str:
        """List a target's threads; pc and sp are known of those that wait. Nothing is stopped."""
        return await self._of(target, looking.threads)

    async def read(
        self,
        target: TargetId,
        address: Address,
        type: Type = "bytes",  # noqa: A002 - what it is
        count: Annotated[
            int | None, Field(ge=1, le=looking.MOST_BYTES, description="64 bytes, or 1 value")
        ] = None,
    ) -> str:
        """Read memory: up to 65,536 bytes, or up to 1,000 numbers, pointers or texts.

        What cannot be read is `missing`, with the reason.
        """
        return await self._of(target, lambda each: looking.read(each, address, type, count))

    async def search(
        self,
        target: TargetId,
        kind: Kind,
        value: Annotated[
            str, Field(max_length=4096, description="text, 4d ?? 49, RE2, an address, a number")
        ],
        where: Annotated[
            list[Word], Field(max_length=64, description="FROM-TO, FROM+LENGTH, or [heap], a file")
        ] = [],  # noqa: B006 - never changed
        perms: Annotated[
            str | None, Field(max_length=4, description="of the mappings: rw, say")
        ] = None,
        limit: Annotated[int, Field(ge=1, le=looking.MOST_MATCHES)] = 100,
    ) -> str:
        """Find a pattern in the resident memory of a target, for at most 30 seconds.

        `left_alone` bytes were not in memory. `stopped` says why it ended early.
        """
        pattern = looking.Pattern(kind, value)
        return await self._of(
            target, lambda each: looking.search(each, pattern, where, perms, limit)
        )

    async def follow_pointers(
        self,
        target: TargetId,
        address: Address,
        count: Annotated[int, Field(ge=1, le=looking.MOST_POINTERS)] = 8,
    ) -> str:
        """Follow `count` pointers that lie one behind the other, as long as they are pointers."""
        return await self._of(target, lambda each: looking.follow_pointers(each, address, count))

    async def describe_address(self, target: TargetId, address: Address) -> str:
        """Say what is at an address: its mapping, its symbol, whether its page is in memory."""
        return await self._of(target, lambda each: looking.describe_address(each, address))

    async def result_page(
        self,
        result: Annotated[str, Field(max_length=64, description="`result` of an earlier answer")],
        first_row: Annotated[int, Field(ge=0, description="`next_row` of that answer")],
    ) -> str:
        """Give the next rows of a result that has more than one page."""
        try:
            return self._results.page(result, first_row)
        except NoSuchPage as error:
            raise ToolError(str(error)) from None

    async def _of(self, target: str, look: Callable[[ApprovedTarget], Found]) -> str:
        """Look at an approved target."""
        approved = self._approved.get(target)
        if approved is None:
            raise ToolError("this target is not approved: call open_target first")
        try:
            return await self._found(lambda: look(approved))
        except _Over as over:
            self._approved.pop(target, None)
            raise ToolError(f"{over}: call open_target again") from None

    async def _found(self, look: Callable[[], Found]) -> str:
        return self._results.first_page(await self._in_thread(look))

    async def _in_thread(self, act: Callable[[], T]) -> T:
        """Do what waits for the service. Raises ToolError, escaped and with nothing of memory."""
        try:
            return await anyio.to_thread.run_sync(act, limiter=self._limiter)
        except (TargetChanged, TargetExited) as error:
            raise _Over(_told(explain(error)[0])) from None
        except PeekError as error:
            raise ToolError(_told(explain(error)[0])) from None
        except CommandError as error:
            raise ToolError(_told("; ".join((str(error), *error.more)))) from None
        except ValueError as error:
            raise ToolError(_told(str(error))) from None


class _Over(ToolError):
    """The approved program does not run any more."""


def _told(text: str) -> str:
    return escaped(text[:_LONGEST_ERROR])
