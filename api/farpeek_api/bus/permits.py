"""What the broker lets each user publish and subscribe to: that is what makes a name true."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from farpeek_api.bus import subjects

if TYPE_CHECKING:
    from collections.abc import Mapping


class Permits(NamedTuple):
    """Subjects, as the broker's configuration has them."""

    publish: list[str]
    subscribe: list[str]


def of_client(name: str) -> Permits:
    """Say what a client may. Raises WrongName."""
    subjects.check_client(name)
    return Permits(
        [
            f"{subjects.PREFIX}.{name}.>",
            f"$KV.farpeek_samplers.{name}.>",
            "$JS.API.DIRECT.GET.FARPEEK_NODES",
        ],
        [
            f"_INBOX.{name}.>",
            f"{subjects.PREFIX}.{subjects.UP}.*.samples.{name}.>",
        ],
    )


def of_node(name: str, labels: Mapping[str, str]) -> Permits:
    """Say what a node may. Raises WrongName."""
    subjects.check_node(name)
    return Permits(
        [
            f"_INBOX.*.*.{name}",
            f"{subjects.PREFIX}.{subjects.UP}.{name}.>",
            f"$JS.API.DIRECT.GET.FARPEEK_EVENTS.{subjects.PREFIX}.{subjects.UP}.{name}.event",
            "$JS.API.DIRECT.GET.KV_farpeek_samplers",
            "$JS.API.DIRECT.GET.KV_farpeek_samplers.>",
            "_MICRO.>",
        ],
        [*subjects.of_node(name, labels), f"{subjects.own_inbox(name)}.>", "$SRV.>"],
    )
