"""What a policy says, as values, and what it decides. Nothing here looks at a process."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from farpeek.model import Mode

if TYPE_CHECKING:
    import re
    from collections.abc import Mapping, Sequence

    from farpeek.identity import Claim, Identity
    from farpeek_api.policy.verbs import Verb

    Labels = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Globs:
    """Texts of which one has to fit a whole value."""

    texts: tuple[str, ...]
    patterns: tuple[re.Pattern[str], ...]

    def fit(self, value: str | None) -> bool:
        """Whether one of them does; none fits a value that is not known."""
        return value is not None and any(each.match(value) for each in self.patterns)

    @property
    def fit_all(self) -> bool:
        """Whether there is no value that they do not fit."""
        return "*" in self.texts


@dataclass(frozen=True, slots=True)
class Rule:
    """Which processes are meant: all that is said must fit."""

    place: str
    """Where it stands: ``clients.profiler.targets[0], line 7``."""
    texts: Mapping[str, Globs] = field(default_factory=dict[str, Globs])
    """Of comm, exe, cgroup, container."""
    numbers: Mapping[str, frozenset[int]] = field(default_factory=dict[str, frozenset[int]])
    """Of uid, ns_pid."""
    labels: Mapping[str, Globs] = field(default_factory=dict[str, Globs])

    def fits(self, identity: Identity, labels: Labels) -> bool:
        """Whether a process is meant."""
        return (
            all(globs.fit(getattr(identity, name)) for name, globs in self.texts.items())
            and all(_number(identity, name) in wanted for name, wanted in self.numbers.items())
            and all(globs.fit(labels.get(name)) for name, globs in self.labels.items())
        )

    def may_fit(self, identity: Identity, labels: Labels) -> bool:
        """The same, where an executable that cannot be seen may be any."""
        texts = {name: globs for name, globs in self.texts.items() if name != "exe"}
        rest = Rule(self.place, texts, self.numbers, self.labels) if identity.exe is None else self
        return rest.fits(identity, labels)

    @property
    def rests_on_comm(self) -> bool:
        """Whether a process can make it fit, or not, by nothing but calling itself so."""
        alone = set(self.texts) == {"comm"} and not self.numbers and not self.labels
        return alone and not self.texts["comm"].fit_all


def _number(identity: Identity, name: str) -> int:
    return identity.uid if name == "uid" else identity.ns_pids[-1]


@dataclass(frozen=True, slots=True)
class Rate:
    """How much a client may have of what, each second; None: as much as there is."""

    requests_per_s: float | None = None
    burst: float = 1.0
    bytes_per_s: float | None = None
    ticks_per_s: float | None = None
    connections: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Client:
    """One client of a policy."""

    name: str
    verbs: frozenset[Verb]
    modes: frozenset[Mode] = frozenset(Mode)
    targets: Sequence[Rule] = ()
    deny: Sequence[Rule] = ()
    overrides_opt_out: bool = False
    rate: Rate = Rate()
    impersonates: frozenset[str] = frozenset()
    expires: float = math.inf
    """Seconds since the epoch."""
    places: Mapping[str, str] = field(default_factory=dict[str, str])
    """Where each of its members stands."""

    def place(self, member: str) -> str:
        """Where a member stands, or would."""
        return self.places.get(member) or self.places.get("") or f"clients.{self.name}"

    lasts: bool = field(init=False)
    """Whether its time never ends, as that of most: then nobody looks at a clock."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "lasts", self.expires == math.inf)

    @property
    def has_expired(self) -> bool:
        """Whether it may do nothing any more."""
        return time.time() >= self.expires

    def sight(self, identity: Identity, labels: Labels) -> Sight:
        """Decide whether a process exists for this client."""
        for rule in self.deny:
            if rule.may_fit(identity, labels):
                return Sight(sees=False, rule=rule)
        for rule in self.targets:
            if rule.fits(identity, labels):
                return Sight(sees=True, rule=rule)
        return UNSEEN


@dataclass(frozen=True, slots=True)
class Sight:
    """Whether a client sees a process, and by which rule; None: none fits."""

    sees: bool
    rule: Rule | None = None


UNSEEN: Final = Sight(sees=False)


@dataclass(frozen=True, slots=True)
class Identifiers:
    """What names a client: whichever of these a request has. Each is one client's alone."""

    tokens: Mapping[str, str] = field(default_factory=dict[str, str])
    """Names by the SHA-256 of tokens, in hex."""
    subjects: Mapping[str, str] = field(default_factory=dict[str, str])
    sans: Mapping[str, str] = field(default_factory=dict[str, str])
    uids: Mapping[int, str] = field(default_factory=dict[int, str])
    gids: Mapping[int, str] = field(default_factory=dict[int, str])

    def by_certificate(self, subject: str, sans: Sequence[str]) -> str | None:
        """Whose a certificate is, that was checked: by its name, then by its alternative names."""
        found = self.subjects.get(subject)
        return found or next((self.sans[each] for each in sans if each in self.sans), None)

    def by_peer(self, uid: int, gid: int) -> str | None:
        """Whose a unix socket's other end is: by its user, then by its group."""
        return self.uids.get(uid) or self.gids.get(gid)


@dataclass(frozen=True, slots=True, eq=False)
class Policy:
    """Everything that a file says. A new file is a new policy, with clients of its own."""

    clients: Mapping[str, Client]
    identifiers: Identifiers
    warnings: Sequence[str] = ()

    def labels(self, claims: Mapping[str, Claim]) -> Labels:
        """Which labels of a target rules may rest on: those of clients that have `admin`.

        Who could label targets for itself would make them its own.
        """
        trusted: dict[str, str] = {}
        for name in sorted(claims):
            client = self.clients.get(name)
            if client is not None and "admin" in client.verbs:
                trusted.update(claims[name].labels)
        return trusted
