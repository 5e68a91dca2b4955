"""The decision: may this client do that to this process, and which line of its policy says so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from farpeek_api.policy.verbs import Verb

if TYPE_CHECKING:
    from farpeek.identity import Identity
    from farpeek.model import Mode
    from farpeek_api.policy.rules import Client, Labels, Policy

REACHES: Final = frozenset({Verb.READ, Verb.WRITE, Verb.FILES, Verb.SEARCH})
"""What a process can refuse by a word of its own: whatever gives, or takes, bytes of it."""

IMPERSONATE: Final = "impersonate"
"""The member that says for whom a client may ask, and what a refusal of that names."""

READS: Final = frozenset({Verb.READ, Verb.SEARCH})
"""What `modes` is about."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A process, as far as decisions rest on it."""

    identity: Identity
    labels: Labels
    opted_out: bool


@dataclass(frozen=True, slots=True)
class Decision:
    """What comes of it."""

    allowed: bool
    text: str
    rule: str
    """Where the line stands that decides."""


def decide(client: Client, verb: Verb, mode: Mode, subject: Subject | None) -> Decision:
    """Decide; without a subject as much as can be decided before it is known."""
    if client.has_expired:
        return _refused("the client's time is over", client.place("expires"))
    if verb not in client.verbs:
        return _refused(f"the client lacks the verb `{verb}`", client.place("verbs"))
    if verb in READS and mode not in client.modes:
        return _refused(f"the client may not read in `{mode}`", client.place("modes"))
    if subject is None:
        return Decision(allowed=True, text="the client has the verb", rule=client.place("verbs"))
    return _decide_about(subject, client, verb)


def decide_asking(by: Client, client: str, policy: Policy) -> Decision:
    """Decide whether one client may ask for another."""
    if by.has_expired:
        return _refused("the client's time is over", by.place("expires"))
    if client not in by.impersonates:
        return _refused("the client may not ask for that one", by.place(IMPERSONATE))
    named = policy.clients[client]
    if named.has_expired:
        return _refused("the time of the client that it asks for is over", named.place("expires"))
    text = "the client may ask for that one"
    return Decision(allowed=True, text=text, rule=by.place(IMPERSONATE))


def _decide_about(subject: Subject, client: Client, verb: Verb) -> Decision:
    sight = client.sight(subject.identity, subject.labels)
    if not sight.sees:
        rule = client.place("targets") if sight.rule is None else sight.rule.place
        why = "no rule fits" if sight.rule is None else "the process is denied"
        return _refused(f"the client does not see the process: {why}", rule)
    if subject.opted_out and verb in REACHES and not client.overrides_opt_out:
        return _refused("the process has opted out", client.place("override_opt_out"))
    assert sight.rule is not None  # noqa: S101 - whoever sees does so by a rule
    return Decision(allowed=True, text="the process fits", rule=sight.rule.place)


def _refused(text: str, rule: str) -> Decision:
    return Decision(allowed=False, text=text, rule=rule)
