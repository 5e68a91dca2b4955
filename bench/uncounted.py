"""`farpeek serve` that counts nothing of itself, to show what counting costs."""

from __future__ import annotations

import sys

from farpeek.counts import Counts
from farpeek_api.__main__ import main
from farpeek_api.serving.counting import Requests
from farpeek_api.serving.metrics import Metrics


def _nothing(*_: object) -> None:
    """Count nothing."""


if __name__ == "__main__":
    for kind, name in (
        (Requests, "count"),
        (Counts, "add_read"),
        (Metrics, "start"),
        (Metrics, "stop"),
    ):
        assert hasattr(kind, name), (kind, name)  # noqa: S101 - else it would count after all
        setattr(kind, name, _nothing)
    sys.exit(main(sys.argv[1:]))
