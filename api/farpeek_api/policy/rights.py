"""What one client may do, as it is asked for each request: looked up, and seldom decided anew."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from farpeek.targets import processes
from farpeek_api.http.refusals import NotPermitted
from farpeek_api.policy.decisions import READS
from farpeek_api.policy.rates import Rates
from farpeek_api.policy.rules import Rate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from farpeek.identity import Claim, Identity
    from farpeek.model import Mode
    from farpeek.targets.target import Target
    from farpeek_api.policy.rules import Client, Policy
    from farpeek_api.policy.verbs import Verb

MOVING: Final = frozenset({"comm", "cgroup", "container"})
"""What of a process changes without an execve and without a change of its user."""

FRESH_S: Final = 1.0
"""How long what was seen of those counts."""

_MOST_KEPT: Final = 65_536
"""Targets that a client was looked up for; then all of them are forgotten."""


class Rights(Protocol):
    """What a client may do."""

    rates: Rates
    rate: Rate

    def check_known(self) -> None:
        """Raise NotPermitted if the policy knows the client no more, or its time is over."""
        ...

    def check(self, verb: Verb, mode: Mode | None = None) -> None:
        """Raise NotPermitted unless it may do that to anything."""
        ...

    def sees(self, name: str, identity: Identity, claims: Mapping[str, Claim]) -> bool:
        """Whether a process is there for it. The answer is kept by ``name``, a target's id."""
        ...

    def sees_target(self, target: Target) -> bool:
        """The same of a target as it is at this moment."""
        ...

    def still_let(self, policy: Policy, target: Target, identity: Identity) -> bool:
        """Whether what they let a client do to ``target``, as ``identity``, they let it by now.

        That is where they are what ``policy`` gives, their time is not over, and the process is as
        it was. It is found out in few steps: False may mean that it has to be looked at.
        """
        ...

    @property
    def overrides_opt_out(self) -> bool:
        """Whether it may look into processes that do not want it."""
        ...

    def admits(self, identity: Identity, claims: Mapping[str, Claim]) -> bool:
        """As `sees`, of a process that was just looked at; the answer is not kept."""
        ...


class AllRights:
    """Those of whoever gets in where there is no policy."""

    def __init__(self) -> None:
        self.rate = Rate()
        self.rates = Rates(self.rate)

    def check_known(self) -> None:
        """See ``Rights``."""

    def check(self, verb: Verb, mode: Mode | None = None) -> None:
        """See ``Rights``."""

    def sees(self, name: str, identity: Identity, claims: Mapping[str, Claim]) -> bool:
        """See ``Rights``."""
        del name, identity, claims
        return True

    def sees_target(self, target: Target) -> bool:
        """See ``Rights``."""
        del target
        return True

    def still_let(self, policy: Policy, target: Target, identity: Identity) -> bool:
        """See ``Rights``."""
        del policy, target, identity
        return False

    overrides_opt_out = False

    def admits(self, identity: Identity, claims: Mapping[str, Claim]) -> bool:
        """See ``Rights``."""
        del identity, claims
        return True


class NoRights:
    """Those of one whom the policy knows no more, or whose time is over."""

    def __init__(self, detail: str, rule: str) -> None:
        self._detail = detail
        self._rule = rule
        self.rate = Rate()
        self.rates = Rates(self.rate)

    def check_known(self) -> None:
        """See ``Rights``."""
        raise NotPermitted(self._detail, self._rule)

    def check(self, verb: Verb, mode: Mode | None = None) -> None:
        """See ``Rights``."""
        del mode
        raise NotPermitted(self._detail, self._rule, verb)

    def sees(self, name: str, identity: Identity, claims: Mapping[str, Claim]) -> bool:
        """See ``Rights``."""
        del name, identity, claims
        return False

    def sees_target(self, target: Target) -> bool:
        """See ``Rights``."""
        del target
        return False

    def still_let(self, policy: Policy, target: Target, identity: Identity) -> bool:
        """See ``Rights``."""
        del policy, target, identity
        return False

    overrides_opt_out = False

    def admits(self, identity: Identity, claims: Mapping[str, Claim]) -> bool:
        """See ``Rights``."""
        del identity, claims
        return False


class _Seen(NamedTuple):
    """What was decided, and upon what: objects that are replaced, and never changed."""

    identity: Identity
    claims: Mapping[str, Claim]
    sees: bool


class PolicyRights:
    """Those that a policy gives."""

    def __init__(self, policy: Policy, client: Client) -> None:
        self._policy = policy
        self._client = client
        self.expires = client.expires
        self.lasts = client.lasts
        self._verbs = client.verbs
        self._modes = client.modes
        self.rate = client.rate
        self.rates = Rates(client.rate)
        self._seen: dict[str, _Seen] = {}
        self._looked_at: dict[str, float] = {}  # by time.monotonic
        rules = (*client.targets, *client.deny)
        self._rests_on_what_moves = any(
            name in MOVING and not globs.fit_all
            for rule in rules
            for name, globs in rule.texts.items()
        )

    def check_known(self) -> None:
        """See ``Rights``."""

    def check(self, verb: Verb, mode: Mode | None = None) -> None:
        """See ``Rights``."""
        client = self._client
        if verb not in self._verbs:
            raise NotPermitted(
                f"the policy does not let {client.name!r} do this: it lacks the verb `{verb}`",
                client.place("verbs"),
                verb,
            )
        if mode is not None and mode not in self._modes and verb in READS:
            raise NotPermitted(
                f"the policy does not let {client.name!r} read in `{mode}`",
                client.place("modes"),
                verb,
            )

    def sees(self, name: str, identity: Identity, claims: Mapping[str, Claim]) -> bool:
        """See ``Rights``."""
        seen = self._seen.get(name)
        if seen is not None and seen.identity is identity and seen.claims is claims:
            return seen.sees
        sees = self.admits(identity, claims)
        if len(self._seen) >= _MOST_KEPT:
            self._seen.clear()
        self._seen[name] = _Seen(identity, claims, sees)
        return sees

    def sees_target(self, target: Target) -> bool:
        """See ``Rights``."""
        if not target.has_exited and self._is_stale(target):
            look_again(target)
        return self.sees(target.id, target.identity, target.claims.by_client)

    def still_let(self, policy: Policy, target: Target, identity: Identity) -> bool:
        """See ``Rights``."""
        seen = self._seen.get(target.id)
        return (
            seen is not None
            and policy is self._policy
            and (self.lasts or time.time() < self.expires)
            and seen.sees
            and seen.identity is identity
            and seen.claims is target.claims.by_client
            and not self._rests_on_what_moves
            and processes.uid_now(target.process) == identity.uid
        )

    def _is_stale(self, target: Target) -> bool:
        """Whether it may be somebody else by now than it was when it was looked at last."""
        uid = processes.uid_now(target.process)
        if uid is not None and uid != target.identity.uid:
            return True
        if not self._rests_on_what_moves:
            return False
        now = time.monotonic()
        if now - self._looked_at.get(target.id, 0.0) < FRESH_S:
            return False
        if len(self._looked_at) >= _MOST_KEPT:
            self._looked_at.clear()
        self._looked_at[target.id] = now
        return True

    @property
    def overrides_opt_out(self) -> bool:
        """See ``Rights``."""
        return self._client.overrides_opt_out

    def admits(self, identity: Identity, claims: Mapping[str, Claim]) -> bool:
        """See ``Rights``."""
        return self._client.sight(identity, self._policy.labels(claims)).sees


def look_again(target: Target) -> None:
    """Find out on the spot who a target is; the same object stays if that is as it was."""
    program = target.programs.current
    program.note(processes.look_again(target.process, program.identity))
