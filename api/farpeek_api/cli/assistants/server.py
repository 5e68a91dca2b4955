"""The server: the tools on stdin and stdout, until the client closes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import anyio
from mcp.server.mcpserver import MCPServer
from mcp_types import ToolAnnotations

import farpeek
from farpeek_api.cli.assistants.approval import Approvals
from farpeek_api.cli.assistants.handles import Results
from farpeek_api.cli.assistants.tools import Tools
from farpeek_api.cli.assistants.untrusted import NOTICE

if TYPE_CHECKING:
    from farpeek_api.cli.assistants.approved import ApprovingClient

_INSTRUCTIONS: Final = (
    "Reads the memory of running processes on Linux without stopping them. Call open_target first: "
    "the person is asked about each program. Nothing can be written. Answers are JSON; long ones "
    f"have `result` and `next_row` for result_page. {NOTICE}"
)
_READS: Final = ToolAnnotations(
    read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False
)


def serve(peek: ApprovingClient, approval_timeout_s: float, results_last_s: float) -> None:
    """Serve one client."""
    anyio.run(_serve, peek, approval_timeout_s, results_last_s)


async def _serve(peek: ApprovingClient, approval_timeout_s: float, results_last_s: float) -> None:
    tools = Tools(peek, Approvals(approval_timeout_s), Results(results_last_s))
    # The SDK logs errors with their texts, in which there may be memory.
    server: MCPServer[object] = MCPServer(
        "farpeek", version=farpeek.__version__, instructions=_INSTRUCTIONS, log_level="CRITICAL"
    )
    for tool in tools.all:
        server.add_tool(tool, annotations=_READS, structured_output=False)
    await server.run_stdio_async()
