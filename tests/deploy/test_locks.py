"""What the images are built from fits what pyproject.toml asks for, and nothing comes unchecked."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

TOP = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((TOP / "pyproject.toml").read_text())
LOCKS = {
    "requirements.lock": PROJECT["project"]["dependencies"],
    "build-requirements.lock": PROJECT["build-system"]["requires"],
    "fleet-requirements.lock": [
        *PROJECT["project"]["dependencies"],
        *PROJECT["project"]["optional-dependencies"]["fleet"],
    ],
    "fleet-build-requirements.lock": ["setuptools", "wheel"],
}


def pinned(lock: str) -> dict[str, tuple[str, int]]:
    """Return version and number of hashes of each package of a lock file."""
    text = (TOP / "deploy" / lock).read_text().replace("\\\n", " ")
    found: dict[str, tuple[str, int]] = {}
    for line in text.splitlines():
        if line.strip() and not line.lstrip().startswith("#"):
            name, version = re.match(r"([a-z0-9-]+)==(\S+)", line).groups()  # type: ignore[union-attr]
            found[name] = (version, line.count("--hash=sha256:"))
    return found


@pytest.mark.parametrize("lock", LOCKS)
def test_every_dependency_is_locked_to_a_version_that_is_asked_for(lock: str) -> None:
    found = pinned(lock)
    for wanted in map(Requirement, LOCKS[lock]):
        version, _ = found[wanted.name]
        assert wanted.specifier.contains(version), wanted


@pytest.mark.parametrize("lock", LOCKS)
def test_every_locked_package_has_hashes(lock: str) -> None:
    assert all(hashes for _, hashes in pinned(lock).values())


def test_the_images_are_of_no_one_machine() -> None:
    """They are built for whichever one `docker build --platform` names."""
    text = (TOP / "deploy" / "Dockerfile").read_text()
    assert re.findall(r"x86|amd64|arm64|aarch64|--platform", text) == []
