"""One session of an editor: its requests, each with its answer."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from farpeek_api.cli.dap import memory
from farpeek_api.cli.dap.arguments import Arguments
from farpeek_api.cli.dap.framing import NotDap
from farpeek_api.cli.dap.memory import Looked, Watch
from farpeek_api.cli.dap.sample import Sample
from farpeek_api.cli.errors import CommandError, WrongWord
from farpeek_api.cli.exits import exit_of
from farpeek_api.cli.explaining import explain
from farpeek_api.cli.show.escape import one_line, safe
from farpeek_api.cli.words import target as target_words
from farpeek_api.client.problems import PeekError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from farpeek_api.cli.dap.framing import Channel
    from farpeek_api.client import Client, Target, TargetInfo

Body = dict[str, object]

_LOOKS_S: Final = 10.0
"""How long one question takes whether the target has exited."""

_SAMPLES: Final = ("continue", "next", "stepIn", "stepOut", "pause")
_BREAKPOINTS: Final = ("setBreakpoints", "setFunctionBreakpoints", "setInstructionBreakpoints")
_NOT_STOPPED: Final = "farpeek never stops a target, so there are no breakpoints"


class Adapter:
    """``may_write`` is whether the person has asked for writes; ``hz`` is how often is looked."""

    def __init__(self, peek: Client, channel: Channel, hz: float, *, may_write: bool) -> None:
        self._peek = peek
        self._channel = channel
        self._hz = hz
        self._may_write = may_write
        self._tells_memory = False
        self._is_configured = False
        self._target: Target | None = None
        self._sample: Sample | None = None
        self._watch: Watch | None = None
        self._over = threading.Event()
        self._handlers: dict[str, Callable[[Arguments], Body]] = {
            "initialize": self._initialize,
            "attach": self._attach,
            "configurationDone": self._configured,
            "threads": self._threads,
            "stackTrace": self._stack_trace,
            "scopes": self._scopes,
            "variables": self._variables,
            "evaluate": self._evaluate,
            "readMemory": self._read_memory,
            "writeMemory": self._write_memory,
            "setExceptionBreakpoints": lambda _: {},
            "disconnect": self._disconnect,
            **dict.fromkeys(_SAMPLES, self._sample_again),
            **dict.fromkeys(_BREAKPOINTS, self._no_breakpoints),
        }

    def run(self) -> None:
        """Answer requests until the editor leaves. Raises NotDap."""
        try:
            while not self._over.is_set() and (request := self._channel.receive()) is not None:
                if request.get("type") != "request":
                    raise NotDap("a message is no request")
                self._answer(request)
        finally:
            self._over.set()
            if self._watch is not None:
                self._watch.close()

    def _answer(self, request: Mapping[str, object]) -> None:
        command = str(request.get("command"))
        handler = self._handlers.get(command)
        if handler is None:
            self._channel.refuse(request, one_line(f"there is no request {command[:64]!r} here"))
            return
        try:
            body = handler(Arguments(request))
        except PeekError as error:
            self._channel.refuse(request, one_line(explain(error)[0]))
        except CommandError as error:
            self._channel.refuse(request, one_line("; ".join((str(error), *error.more))))
        except ValueError as error:
            self._channel.refuse(request, one_line(str(error)))
        else:
            self._channel.respond(request, body)
            self._then(command)

    def _then(self, command: str) -> None:
        """Tell what has to come behind the answer."""
        if command == "initialize":
            self._channel.event("initialized", {})
        elif command in ("attach", "configurationDone"):
            if self._target is not None and self._is_configured:
                self._stopped()
        elif command in _SAMPLES:
            self._stopped()

    def _initialize(self, arguments: Arguments) -> Body:
        self._tells_memory = arguments.flag("supportsMemoryEvent")
        return {
            "supportsConfigurationDoneRequest": True,
            "supportsReadMemoryRequest": True,
            "supportsWriteMemoryRequest": self._may_write,
            "supportsEvaluateForHovers": True,
            "supportsTerminateRequest": False,
            "supportTerminateDebuggee": False,
        }

    def _attach(self, arguments: Arguments) -> Body:
        if self._target is not None:
            raise WrongWord("a target is attached: use another session for another one")
        word = target_words.parse(arguments.text_or_number("target", "pid", "processId"))
        target = self._peek.target(word.pid if word.id is None else word.id, **word.match)
        self._target = target
        self._watch = Watch(self._peek, target, self._channel, self._hz)
        threading.Thread(target=self._await_end, args=(target,), daemon=True).start()
        process: Body = {
            "name": safe(target.info.process.comm),
            "systemProcessId": target.pid,
            "startMethod": "attach",
        }
        if target.info.pointer_size is not None:
            process["pointerSize"] = target.info.pointer_size * 8
        self._channel.event("process", process)
        return {}

    def _configured(self, _: Arguments) -> Body:
        self._is_configured = True
        return {}

    def _sample_again(self, _: Arguments) -> Body:
        self._attached()
        return {"allThreadsContinued": True}

    def _stopped(self) -> None:
        """Begin a sample, which an editor takes for a stop of all threads."""
        target = self._attached()
        self._sample = Sample(target)
        text = "a sample: the target goes on"
        stop = {"reason": "pause", "description": text, "threadId": target.pid}
        self._channel.event("stopped", {**stop, "allThreadsStopped": True})

    def _threads(self, _: Arguments) -> Body:
        return {"threads": self._sampled().threads()}

    def _stack_trace(self, arguments: Arguments) -> Body:
        frames = self._sampled().frames(arguments.number("threadId"))
        start = arguments.count("startFrame", 0)
        return {"stackFrames": frames[start:], "totalFrames": len(frames)}

    def _scopes(self, arguments: Arguments) -> Body:
        return {"scopes": self._sampled().scopes(arguments.number("frameId"))}

    def _variables(self, arguments: Arguments) -> Body:
        reference = arguments.count("variablesReference")
        start, count = arguments.count("start", 0), arguments.count("count", 0)
        return {"variables": self._sampled().variables(reference, start, count)}

    def _evaluate(self, arguments: Arguments) -> Body:
        return self._sampled().evaluate(arguments.text("expression"))

    def _read_memory(self, arguments: Arguments) -> Body:
        target = self._attached()
        reference, offset = arguments.text("memoryReference"), arguments.number("offset", 0)
        address = memory.address_of(reference, offset)
        count = arguments.count("count")
        body = memory.read(target, address, count)
        if self._tells_memory and self._watch is not None and body["data"]:
            self._watch.look(Looked(reference, offset, address, count))
        return body

    def _write_memory(self, arguments: Arguments) -> Body:
        target = self._attached()
        if not self._may_write:
            raise WrongWord("nothing is written: start it as `farpeek dap --write` for that")
        reference, offset = arguments.text("memoryReference"), arguments.number("offset", 0)
        address, data = memory.address_of(reference, offset), arguments.base64("data")
        if not arguments.flag("allowPartial"):
            rehearsal = target.writev([(address, data)], dry_run=True)
            if rehearsal.gaps:
                gap = rehearsal.gaps[0]
                raise WrongWord(f"nothing is written: {gap.address:#x} is {gap.reason}")
        result = target.writev([(address, data)])
        if not result.gaps:
            return {"bytesWritten": len(data)}
        return {"bytesWritten": min(each.offset for each in result.gaps)}

    def _no_breakpoints(self, arguments: Arguments) -> Body:
        unverified = {"verified": False, "message": _NOT_STOPPED}
        count = arguments.length("breakpoints")
        return {"breakpoints": [{**unverified, "id": number} for number in range(count)]}

    def _disconnect(self, _: Arguments) -> Body:
        self._over.set()
        return {}

    def _attached(self) -> Target:
        if self._target is None:
            raise WrongWord("no target is attached: `attach` comes first")
        return self._target

    def _sampled(self) -> Sample:
        if self._sample is None:
            self._sample = Sample(self._attached())
        return self._sample

    def _await_end(self, target: Target) -> None:
        """Tell when the target has exited; it runs in a thread of its own."""
        # Without a service nothing can be told; the next request says so.
        with suppress(PeekError, OSError, ValueError):
            while not self._over.is_set():
                with suppress(TimeoutError):
                    target.wait(_LOOKS_S)
                    self._tell_end(exit_of(target))
                    return

    def _tell_end(self, info: TargetInfo) -> None:
        if info.exit is not None:
            code = info.exit.code
            self._channel.event("exited", {"exitCode": -1 if code is None else code})
        self._channel.event("terminated", {})
