"""What makes processes targets, shows them, and lets them go."""

from __future__ import annotations

from typing import Final

from farpeek_api.http import problem_shapes, queries, registrations, target_shapes
from farpeek_api.operations import examples
from farpeek_api.operations.kinds import (
    ADMITTED,
    ALIVE,
    HELD,
    LISTED,
    NEGOTIATED,
    PARSED,
    REACHED,
    SENT,
)
from farpeek_api.operations.operation import Answer, Body, Operation
from farpeek_api.policy.verbs import Verb

_GROUP: Final = "targets"
_COMMON: Final = (*ADMITTED, *PARSED, *NEGOTIATED)

PROCESSES: Final = Operation(
    id="list_processes",
    method="GET",
    path="/v1/processes",
    verb=Verb.INSPECT,
    group=_GROUP,
    summary="The processes that the service can see",
    text="Without kernel threads and zombies. All parameters must fit; globs fit whole values, and "
    "case counts. A list that was cut says `truncated`, and where to go on.",
    query=queries.ProcessesQuery,
    answers=[Answer(status=200, text="Those that fit.", model=target_shapes.ProcessList)],
    problems=(*_COMMON, *LISTED),
    examples=[examples.PROCESSES],
)
LIST: Final = Operation(
    id="list_targets",
    method="GET",
    path="/v1/targets",
    verb=Verb.INSPECT,
    group=_GROUP,
    summary="The targets",
    text="In the order of their registration; exited ones for as long as they are kept. A list "
    "that was cut says `truncated`, and where to go on.",
    query=registrations.TargetsQuery,
    answers=[Answer(status=200, text="Those that fit.", model=target_shapes.TargetList)],
    problems=_COMMON,
    examples=[examples.TARGETS],
)
REGISTER: Final = Operation(
    id="register",
    method="POST",
    path="/v1/targets",
    verb=Verb.REGISTER,
    group=_GROUP,
    summary="Make a process a target",
    text="Names it by one of `pid`, `match`, `id` and `self`. A registration needs no access to "
    "its memory: the first read is refused where that is refused. Whoever registers has a claim "
    "on the target, with labels of its own, until it releases it.",
    body=Body(registrations.RegisterRequest),
    answers=[
        Answer(
            status=201,
            text="It is a target now.",
            model=target_shapes.Target,
            headers=["Location"],
        ),
        Answer(
            status=200,
            text="It was one already; or with `all`, what came of each.",
            model=target_shapes.Target | problem_shapes.RegisteredAll,
        ),
    ],
    problems=(
        *_COMMON,
        *SENT,
        *LISTED,
        *ALIVE,
        "no-such-process",
        "ambiguous",
        "unsupported",
    ),
    examples=[examples.REGISTER, examples.REGISTER_ALL],
)
GET: Final = Operation(
    id="get_target",
    method="GET",
    path="/v1/targets/{id}",
    verb=Verb.INSPECT,
    group=_GROUP,
    summary="One target",
    text="Looks again at who it is. With `wait=exit` it answers when the target has exited, or "
    "with the running target at the end of `timeout_s`.",
    query=queries.TargetQuery,
    answers=[Answer(status=200, text="As it is.", model=target_shapes.Target)],
    problems=(*_COMMON, *HELD),
    examples=[examples.GET_TARGET, examples.WAIT_FOR_EXIT],
)
RELEASE: Final = Operation(
    id="release",
    method="DELETE",
    path="/v1/targets/{id}",
    verb=Verb.REGISTER,
    group=_GROUP,
    summary="Drop your claim on a target",
    text="The target goes with the last claim. Reads that are under way finish.",
    query=registrations.ReleaseQuery,
    answers=[Answer(status=204, text="It is dropped.")],
    problems=(*_COMMON, *HELD),
)
MAPS: Final = Operation(
    id="list_mappings",
    method="GET",
    path="/v1/targets/{id}/maps",
    verb=Verb.INSPECT,
    group=_GROUP,
    summary="The mappings of a target",
    text="In the order of their addresses, 65,536 at most. It is a look at a process that runs: "
    "mappings that change meanwhile may be missing, or there in parts.",
    query=queries.MapsQuery,
    answers=[Answer(status=200, text="The mappings.", model=target_shapes.MappingList)],
    problems=(*_COMMON, *REACHED),
    examples=[examples.MAPS],
)
AUXV: Final = Operation(
    id="get_auxv",
    method="GET",
    path="/v1/targets/{id}/auxv",
    verb=Verb.INSPECT,
    group=_GROUP,
    summary="The auxiliary vector of a target's program",
    text="By the names of getauxval(3).",
    answers=[Answer(status=200, text="Every value.", model=target_shapes.AuxiliaryVector)],
    problems=(*_COMMON, *REACHED),
    examples=[examples.AUXV],
)
THREADS: Final = Operation(
    id="list_threads",
    method="GET",
    path="/v1/targets/{id}/threads",
    verb=Verb.READ,
    group=_GROUP,
    summary="The threads of a target, and what is known of their registers",
    text="In the order of their ids, up to 4,096 at a time; a list that was cut says `truncated`, "
    "and where to go on. Nothing is stopped: of a thread that sleeps in the kernel program "
    "counter and stack pointer are known, in a system call its arguments as well; of one that "
    "runs, nothing. The threads are looked at one behind the other.",
    query=queries.ThreadsQuery,
    answers=[Answer(status=200, text="The threads.", model=target_shapes.ThreadList)],
    problems=(*_COMMON, *REACHED),
    examples=[examples.THREADS],
)

_MATCHES: Final = "standing matches"

LIST_MATCHES: Final = Operation(
    id="list_matches",
    method="GET",
    path="/v1/matches",
    verb=Verb.INSPECT,
    group=_MATCHES,
    summary="Your standing matches",
    text="A client sees its own alone.",
    answers=[Answer(status=200, text="All of them.", model=target_shapes.StandingMatchList)],
    problems=_COMMON,
    examples=[examples.MATCHES],
)
CREATE_MATCH: Final = Operation(
    id="create_match",
    method="POST",
    path="/v1/matches",
    verb=Verb.REGISTER,
    group=_MATCHES,
    summary="Hold all processes that fit, now and later",
    text="What runs already is held when the answer comes, and a new process within a second. A "
    "match lasts until it is deleted, or the service stops.",
    body=Body(registrations.StandingRequest),
    answers=[
        Answer(
            status=201,
            text="It holds what fits.",
            model=target_shapes.StandingMatch,
            headers=["Location"],
        )
    ],
    problems=(*_COMMON, *SENT, *LISTED),
    examples=[examples.CREATE_MATCH],
)
GET_MATCH: Final = Operation(
    id="get_match",
    method="GET",
    path="/v1/matches/{id}",
    verb=Verb.INSPECT,
    group=_MATCHES,
    summary="One standing match, and the targets that it holds",
    text="Those that run.",
    answers=[Answer(status=200, text="As it is.", model=target_shapes.StandingMatchTargets)],
    problems=(*_COMMON, "no-such-match"),
    examples=[examples.GET_MATCH],
)
DELETE_MATCH: Final = Operation(
    id="delete_match",
    method="DELETE",
    path="/v1/matches/{id}",
    verb=Verb.REGISTER,
    group=_MATCHES,
    summary="Delete a standing match",
    text="Drops its claims, and with them the targets that nobody else has a claim on.",
    answers=[Answer(status=204, text="It is gone.")],
    problems=(*_COMMON, "no-such-match"),
)
