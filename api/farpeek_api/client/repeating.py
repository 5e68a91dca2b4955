"""Plans that are done again and again, of which mostly the same comes."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from farpeek_api.client import members
from farpeek_api.client.members import Members
from farpeek_api.client.plans import PlanResult

if TYPE_CHECKING:
    from collections.abc import Mapping

    from farpeek_api.client.plans import Rows

OPENING: Final = re.compile(
    rb'\{"id":(?P<id>\d{1,18}),"target":"(?P<target>[\w.-]+)","elapsed_us":\d+,"steps":'
)
"""How the object of a tick begins, up to the value of `steps`."""


@dataclass(slots=True)
class _Last:
    shown: object
    """Its `steps`, as JSON has them."""
    content: bytes
    steps: Mapping[str, Rows]
    text: bytes = b""
    """Of `shown`, once that has come twice."""


class Following:
    """Puts the frames of a subscription together.

    ``steps`` of a result are the same object as those of its target's last one where the same was
    found: mostly so, and who looks for that need not go through them again.
    """

    def __init__(self) -> None:
        self._last: dict[str, _Last] = {}

    def read(self, text: bytes, opening: re.Match[bytes]) -> Members:
        """Parse the object of a tick, which begins with ``opening``. Raises Odd.

        A value whose text is the last one's is that: to parse it takes as long as all the rest.
        """
        last, at = self._last.get(opening["target"].decode()), opening.end()
        if last is None or not last.text or not text.startswith(last.text, at):
            shown = members.parse(text)
            if last is not None and last.shown == shown.all["steps"]:
                last.text = _beginning(text[at:], last.shown)
            return shown
        shown = members.parse(b"%bnull%b" % (text[:at], text[at + len(last.text) :]))
        if shown.all["steps"] is not None:  # it comes twice, and the second one counts
            return members.parse(text)
        return Members({**shown.all, "steps": last.shown})

    def parse(self, shown: Members, data: memoryview) -> PlanResult:
        """See ``PlanResult.parse``."""
        target, wanted, content = shown.text("target"), shown.all.get("steps"), bytes(data)
        last = self._last.get(target)
        if last is not None and (wanted, content) == (last.shown, last.content):
            return PlanResult.parse(shown, data, last.steps)
        result = PlanResult.parse(shown, data)
        text = last.text if last is not None and wanted is last.shown else b""
        self._last[target] = _Last(wanted, content, result.steps, text)
        return result

    def leave(self, target: str) -> None:
        """That target is sampled no more."""
        self._last.pop(target, None)


def _beginning(text: bytes, value: object) -> bytes:
    """Give the JSON that ``text`` begins with if that is ``value``: it may come twice."""
    decoded = text.decode(errors="surrogatepass")  # as `json.loads` does
    found, end = json.JSONDecoder().raw_decode(decoded)
    return decoded[:end].encode(errors="surrogatepass") if found == value else b""
