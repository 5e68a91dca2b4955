"""What is decided, held against a model that is as simple as can be."""

from __future__ import annotations

import json
from fnmatch import fnmatchcase
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from farpeek.identity import Identity
from farpeek.model import Mode
from farpeek_api.policy import decisions, file
from farpeek_api.policy.decisions import Subject
from farpeek_api.policy.verbs import Verb

WORDS = st.sampled_from(["ruby", "rub", "vault", "/usr/bin/ruby", "x"])
GLOBS = st.sampled_from(["ruby*", "*", "vault", "/usr/bin/*", "r?b", "[rv]*"])
NUMBERS = st.integers(0, 3)
RULES = st.fixed_dictionaries(
    {},
    optional={
        "comm": GLOBS,
        "exe": GLOBS | st.lists(GLOBS, min_size=1, max_size=2),
        "container": GLOBS,
        "uid": NUMBERS | st.lists(NUMBERS, min_size=1, max_size=2),
        "labels": st.fixed_dictionaries({"job": GLOBS}),
    },
).filter(bool)
CLIENTS = st.fixed_dictionaries(
    {
        "unix_uid": st.just(0),
        "verbs": st.lists(st.sampled_from([*Verb]), min_size=1),
        "targets": st.lists(RULES, max_size=3),
    },
    optional={
        "deny": st.lists(RULES, max_size=2),
        "modes": st.lists(st.sampled_from([*Mode]), min_size=1),
        "override_opt_out": st.booleans(),
    },
)
IDENTITIES = st.builds(
    Identity,
    pid=st.just(1),
    ns_pids=st.just((1,)),
    start_ticks=st.just(1),
    start_time=st.just(1.0),
    comm=WORDS,
    exe=WORDS | st.none(),
    exe_deleted=st.just(value=False),
    ppid=st.just(1),
    process_state=st.just("running"),
    uid=NUMBERS,
    gid=NUMBERS,
    cgroup=st.none(),
    container=WORDS | st.none(),
    pointer_size=st.none(),
    byte_order=st.none(),
)
LABELS = st.fixed_dictionaries({}, optional={"job": WORDS})


def toml(value: Any) -> str:  # noqa: ANN401 - whatever TOML has
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{name} = {toml(each)}" for name, each in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value)


def fits(rule: dict[str, Any], identity: Identity, labels: dict[str, str], unknown: bool) -> bool:  # noqa: FBT001 - what becomes of an exe that nobody sees
    def one(wanted: Any, value: Any, missing: bool = False) -> bool:  # noqa: ANN401, FBT001, FBT002 - the same
        if value is None:
            return missing
        some = wanted if isinstance(wanted, list) else [wanted]
        return any(fnmatchcase(str(value), str(each)) for each in some)

    return all(
        one(rule["labels"]["job"], labels.get("job"))
        if name == "labels"
        else one(wanted, getattr(identity, name), missing=unknown and name == "exe")
        for name, wanted in rule.items()
    )


@given(CLIENTS, IDENTITIES, LABELS, st.booleans(), st.sampled_from([*Verb]), st.sampled_from(Mode))
def test_a_decision_is_that_of_a_simple_model(
    client: dict[str, Any],
    identity: Identity,
    labels: dict[str, str],
    opted_out: bool,  # noqa: FBT001 - what Hypothesis draws
    verb: Verb,
    mode: Mode,
) -> None:
    text = "[clients.a]\n" + "".join(f"{name} = {toml(each)}\n" for name, each in client.items())
    made = file.parse(text, "x").clients["a"]
    sees = any(fits(each, identity, labels, unknown=False) for each in client["targets"])
    denied = any(fits(each, identity, labels, unknown=True) for each in client.get("deny", ()))
    assert made.sight(identity, labels).sees == (sees and not denied)
    expected = (
        verb in client["verbs"]
        and (verb not in ("read", "search") or mode in client.get("modes", [*Mode]))
        and sees
        and not denied
        and (
            not opted_out
            or client.get("override_opt_out", False)
            or verb not in ("read", "write", "files", "search")
        )
    )
    found = decisions.decide(made, verb, mode, Subject(identity, labels, opted_out))
    assert found.allowed == expected
    assert "line " in found.rule
