#!/usr/bin/env python3
"""runc, but with the capabilities of processes as containerd gives them: none ambient.

podman makes the capabilities of a user other than root ambient, so that they survive exec;
containerd, and so Kubernetes, does not. What is tried on podman alone passes where it would fail
there. (containerd leaves the inheritable set empty too, since 1.6.2.)
"""

import json
import os
import sys
from pathlib import Path

RUNC = "runc"


def edit(path: Path) -> None:
    """Rewrite a bundle's config.json, or the description of a process for `runc exec`."""
    document = json.loads(path.read_text())
    process = document.get("process", document)
    capabilities = process.get("capabilities") or {}
    capabilities["ambient"] = capabilities["inheritable"] = []
    path.write_text(json.dumps(document))


def value_of(flags: tuple[str, ...], arguments: list[str]) -> str | None:
    """Find a flag's value, as `--flag VALUE` or `--flag=VALUE`."""
    for index, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if name in flags:
            return value if equals else arguments[index + 1]
    return None


def main(arguments: list[str]) -> None:
    """Edit what is about to be run, and go on as runc."""
    if "create" in arguments or "run" in arguments:
        bundle = value_of(("--bundle", "-b"), arguments) or "."
        edit(Path(bundle) / "config.json")
    elif "exec" in arguments and (process := value_of(("--process", "-p"), arguments)):
        edit(Path(process))
    os.execvp(RUNC, [RUNC, *arguments])  # noqa: S606 - to become it


if __name__ == "__main__":
    main(sys.argv[1:])
