"""Which programs the person has approved, and how that is asked: closed unless there is a yes."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, Final, NamedTuple

import anyio
from mcp.server.mcpserver.exceptions import ToolError
from mcp.shared.exceptions import MCPError
from mcp_types import (
    ElicitRequest,
    ElicitRequestFormParams,
    ElicitResult,
    InputRequiredResult,
)
from mcp_types.version import is_version_at_least

from farpeek_api.cli.assistants.untrusted import quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mcp.server.mcpserver import Context
    from mcp_types import InputResponse

    from farpeek_api.client import TargetInfo

MOST_REFUSALS: Final = 5
"""Of a session. A model that asks again and again is to wear nobody out."""

_KEY: Final = "approval"
_ANSWERED_BY_RETRY: Final = "2026-07-28"
"""From this version of the protocol on, a question goes out with the tool's answer."""

_SCHEMA: Final = {
    "type": "object",
    "properties": {
        "approve": {
            "type": "boolean",
            "title": "Let the assistant read this program's memory",
            "default": False,
        }
    },
    "required": ["approve"],
}


class Program(NamedTuple):
    """A process, and which of the programs that it executed."""

    target: str
    generation: int


class _Pending(NamedTuple):
    program: Program
    until: float


class Approvals:
    """``timeout_s`` is how long the person may take to answer."""

    def __init__(self, timeout_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._timeout_s = timeout_s
        self._clock = clock
        self._pending: dict[str, _Pending] = {}
        self._refusals = 0
        self._one_at_a_time = anyio.Lock()

    async def ask(
        self, context: Context, program: Program, info: TargetInfo
    ) -> InputRequiredResult | None:
        """Ask the person about a program; None is a yes. Raises ToolError for all else.

        An InputRequiredResult is the question, and the answer comes when the tool is called again.
        """
        if context.request_state is not None:
            self._judge(self._answer(context, program))
            return None
        if self._refusals >= MOST_REFUSALS:
            raise ToolError(
                f"the person has refused {MOST_REFUSALS} times: nothing more is asked until the "
                "server is started again"
            )
        if self._open_questions() >= MOST_REFUSALS:
            raise ToolError("there are questions that the person has not answered yet")
        if not _can_ask(context):
            raise ToolError(
                "this client cannot ask the person (it has no form elicitation), so nothing is read"
            )
        version = context.protocol_version
        if version is not None and is_version_at_least(version, _ANSWERED_BY_RETRY):
            return self._question(program, info)
        async with self._one_at_a_time:
            self._judge(await self._asked(context, info))
        return None

    def _open_questions(self) -> int:
        now = self._clock()
        self._pending = {key: each for key, each in self._pending.items() if each.until > now}
        return len(self._pending)

    def _question(self, program: Program, info: TargetInfo) -> InputRequiredResult:
        state = secrets.token_urlsafe()
        self._pending[state] = _Pending(program, self._clock() + self._timeout_s)
        params = ElicitRequestFormParams(message=question(info), requested_schema=_SCHEMA)
        asked = ElicitRequest(params=params)
        return InputRequiredResult(input_requests={_KEY: asked}, request_state=state)

    def _answer(self, context: Context, program: Program) -> ElicitResult:
        """Find the answer to a question that was asked, once, and about this very program."""
        pending = self._pending.pop(context.request_state or "", None)
        if pending is None:
            raise ToolError("this was not asked, or was answered before: call open_target again")
        if pending.program != program:
            raise ToolError("it executes another program than the one asked about: open it again")
        if pending.until <= self._clock():
            return ElicitResult(action="cancel")
        responses: Mapping[str, InputResponse] = context.input_responses or {}
        answer = responses.get(_KEY)
        return answer if isinstance(answer, ElicitResult) else ElicitResult(action="cancel")

    async def _asked(self, context: Context, info: TargetInfo) -> ElicitResult:
        answer = ElicitResult(action="cancel")
        with anyio.move_on_after(self._timeout_s):
            try:
                answer = await context.session.elicit_form(
                    question(info), _SCHEMA, context.request_id
                )
            except (MCPError, ValueError):  # ValueError: what is no answer
                return ElicitResult(action="cancel")
        return answer

    def _judge(self, answer: ElicitResult) -> None:
        if answer.action == "accept" and (answer.content or {}).get("approve") is True:
            return
        self._refusals += 1
        raise ToolError("the person has not approved it, so nothing is read of it")


def _can_ask(context: Context) -> bool:
    """Whether the client has forms. A bare ``elicitation: {}`` is what older clients say."""
    capabilities = context.client_capabilities
    asks = None if capabilities is None else capabilities.elicitation
    return asks is not None and (asks.form is not None or asks.url is None)


def question(info: TargetInfo) -> str:
    """Say what is asked. The kernel's facts come first; what the program chose is in quotes."""
    process = info.process
    started = f"{process.start_time:%Y-%m-%d %H:%M:%S} UTC"
    lines = [
        f"An assistant asks to read the memory of process {info.pid} of user {process.uid}.",
        f"It was started at {started}.",
        "Memory can hold passwords, keys and personal data. What is read goes to the assistant.",
        "A yes holds for this program alone, as long as it runs and this session lasts.",
        f"Its file: {quoted(process.exe)}. It calls itself: {quoted(process.comm)}.",
    ]
    if process.container:
        lines.append(f"Its container: {quoted(process.container)}.")
    return "\n".join(lines)
