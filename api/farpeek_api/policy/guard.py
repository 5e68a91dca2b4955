"""Who may do what, at this moment: by the policy that there is, or without one."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from farpeek.errors import NoSuchTarget
from farpeek_api.http.refusals import Changing, Hidden, OptedOut, WordUnknown
from farpeek_api.policy.freshness import Freshness
from farpeek_api.policy.rights import AllRights, NoRights, PolicyRights
from farpeek_api.policy.rounds import Rounds

if TYPE_CHECKING:
    from farpeek.identity import TargetSnapshot
    from farpeek.memory import MemoryService
    from farpeek.model import Mode
    from farpeek.targets.programs import Program
    from farpeek.targets.target import Target
    from farpeek_api.policy.current import CurrentPolicy
    from farpeek_api.policy.rights import Rights
    from farpeek_api.policy.rules import Policy
    from farpeek_api.policy.verbs import Verb

_OPTED_OUT: Final = (
    "the process has opted out: FARPEEK_DENY=1 or PYTHON_DISABLE_REMOTE_DEBUG is in its "
    "environment; start it without, or have a policy with `override_opt_out` for this client"
)

FORBIDDEN: Final = "forbidden"
"""Why something ends that was allowed before."""


class Judged:
    """A target that a client may do something to, and the program that this was decided about."""

    __slots__ = ("program", "rights", "target")

    def __init__(self, target: Target, rights: Rights | None = None) -> None:
        """``rights`` are what the client may do it by; None: whoever gets in may."""
        self.target = target
        self.program: Program = target.programs.current
        self.rights = rights

    def is_still_so(self) -> bool:
        """Whether the target executes that program still, as far as can be told at once."""
        if self.target.has_exited:
            return True  # it executes no other
        return self.program is self.target.programs.current and self.program.seems_to_run()


class Guard:
    """Judges what clients ask for. Lives on the event loop."""

    def __init__(self, service: MemoryService, current: CurrentPolicy) -> None:
        self._service = service
        self._current = current
        self._known: Policy | None = None  # whose rights those are
        self.rounds = Rounds()
        self.freshness = Freshness(service)
        self._everything: Rights = AllRights()
        self._rights: dict[str, PolicyRights] = {}

    @property
    def policy(self) -> Policy | None:
        """The one that counts; a new one counts at once, and for what goes on, soon."""
        return self._current.policy

    def rights(self, client: str) -> Rights:
        """What a client may do."""
        policy = self._current.policy
        if policy is None:
            return self._everything
        if policy is self._known:
            rights = self._rights.get(client)
            if rights is not None and (rights.lasts or time.time() < rights.expires):
                return rights
        return self._find_rights(policy, client)

    def _find_rights(self, policy: Policy, client: str) -> Rights:
        if policy is not self._known:
            self._known = policy
            self._rights.clear()
        known = policy.clients.get(client)
        if known is None:
            return NoRights(f"the policy knows no client {client!r} any more", "clients")
        if known.has_expired:
            return NoRights(f"the time of {client!r} is over", known.place("expires"))
        rights = self._rights[client] = PolicyRights(policy, known)
        return rights

    def judge(self, client: str, target_id: str, verb: Verb, mode: Mode | None = None) -> Judged:
        """Give the target if the client may do that to it, as far as is known: `confirm` it.

        Raises NotPermitted, OptedOut, NoSuchTarget.
        """
        if self._current.policy is None:
            return self._judge_by_its_word(client, target_id)
        rights = self.rights(client)
        rights.check(verb, mode)
        target = self._service.find(target_id)
        if target is None:
            raise NoSuchTarget(target_id)
        # Looked at anew only if it may be seen by now; else that comes behind.
        is_seen = rights.sees(target_id, target.programs.current.identity, target.claims.by_client)
        if not is_seen and not rights.sees_target(target):
            raise Hidden(target_id)
        judged = Judged(target, rights)
        if judged.program.opted_out:
            self.check_word(client, word=True)
        return judged

    def _judge_by_its_word(self, client: str, target_id: str) -> Judged:
        """Do the same where nothing counts but a target's own word: each small read comes here."""
        target = self._service.find(target_id)
        if target is None:
            raise NoSuchTarget(target_id)
        judged = Judged(target)
        if judged.program.opted_out:
            self.check_word(client, word=True)
        return judged

    def judge_now(self, client: str, target_id: str, verb: Verb, mode: Mode | None) -> None:
        """Raise what stands against it at this moment."""
        self.rights(client).check(verb, mode)
        judged = self.see(client, target_id)
        self.check_word(client, judged.program.opted_out)

    def see(self, client: str, target_id: str) -> Judged:
        """Give the target if it is there for the client; else NoSuchTarget."""
        target = self._find(target_id)
        if not self.rights(client).sees_target(target):
            raise Hidden(target_id)
        return Judged(target)

    def _find(self, target_id: str) -> Target:
        target = self._service.find(target_id)
        if target is None:
            raise NoSuchTarget(target_id)
        return target

    def check_word(self, client: str, word: bool | None) -> None:  # noqa: FBT001 - see ``Program``
        """Raise OptedOut if a process has opted out, and that counts for the client."""
        if word and not self.rights(client).overrides_opt_out:
            raise OptedOut(_OPTED_OUT)

    def is_free(self, program: Program, generation: int | None) -> bool:
        """Whether that is the generation, and no policy counts: `confirm` says nothing."""
        return (
            generation == program.number
            and program.opted_out is False
            and self._current.policy is None
        )

    def is_plain(self, judged: Judged, generation: int | None) -> bool:
        """Whether that was the program that was judged, and `confirm` would say nothing.

        So it is without a policy, and where all that was decided then rests on what is as it was.
        Each small read comes here.
        """
        program = judged.program
        if generation != program.number or program.opted_out is not False:
            return False
        policy = self._current.policy
        if policy is None:
            return True
        rights, target = judged.rights, judged.target
        return (
            rights is not None
            and target.programs.current is program
            and not program.is_doubted
            and rights.still_let(policy, target, program.identity)
        )

    def confirm(
        self, client: str, judged: Judged, generation: int | None, verb: Verb, mode: Mode | None
    ) -> None:
        """Judge once more, behind what was done: that it was done to what was judged.

        ``generation`` is the program that it was done to, None where that cannot be told; ``verb``
        and ``mode`` are what it was judged for. Raises what `judge` does, WordUnknown, and Changing
        where it has to be done again.
        """
        if self.is_plain(judged, generation):
            return
        target = judged.target
        rights = self.rights(client)
        rights.check(verb, mode)
        current = target.programs.current
        is_told = generation in (None, current.number) and not current.is_doubted
        if not is_told and self.policy is not None:
            # Only of the current one can be told who it is, and that it has not become another.
            raise Changing
        if not rights.sees_target(target):
            raise Hidden(target.id)
        word = target.programs.word_of(generation or current.number)
        if word is None and not target.has_exited:
            raise WordUnknown
        self.check_word(client, word)

    def sees_snapshot(self, client: str, snapshot: TargetSnapshot) -> bool:
        """Whether a target, as it was at some time, is there for a client."""
        return self.rights(client).sees(snapshot.id, snapshot.identity, snapshot.claims)


def reason_of(error: Exception, slug: str) -> str:
    """Why a subscription ends that was begun: what became of its target is not told."""
    return FORBIDDEN if isinstance(error, Hidden) else slug
