"""The targets under atheris: what is imported here is instrumented."""

from __future__ import annotations

import atheris

with atheris.instrument_imports(
    include=["farpeek", "farpeek_api", "tomllib"], enable_loader_override=False
):
    from fuzz.table import TARGETS


def fuzz(name: str, flags: list[str]) -> None:
    """Fuzz a target as libFuzzer's flags say; ends the process."""
    target = TARGETS[name]

    def once(data: bytes) -> None:
        target(data)

    atheris.Setup([name, *flags], once)
    atheris.Fuzz()
