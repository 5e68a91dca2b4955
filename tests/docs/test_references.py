"""References are what the code says, and name all there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from farpeek_api.cli.statuses import OF_SLUGS
from farpeek_api.http import problem_shapes, problems
from farpeek_api.http.problem_shapes import TargetProblem
from support.references import FOLDER, PAGES

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.mark.parametrize("name", PAGES)
def test_a_reference_is_what_the_code_says(name: str) -> None:
    assert (FOLDER / name).read_text() == PAGES[name](), "make references"


def test_every_problem_has_a_line_with_its_status_and_the_commands_exit_status() -> None:
    page = (DOCS / "problems.md").read_text()
    rows = re.findall(r"^\| `([a-z-]+)` \| (\d{3}) \| .* \| (\d) \|$", page, re.MULTILINE)
    assert sorted(slug for slug, *_ in rows) == sorted(problems.rows())
    assert {slug: int(status) for slug, _, status in rows} == OF_SLUGS
    for slug, status, _ in rows:
        assert int(status) == problems.rows()[slug].status, slug


def test_every_problem_has_its_members_and_a_cure_in_its_line() -> None:
    page = (DOCS / "problems.md").read_text()
    rows = re.findall(r"^\| `([a-z-]+)` \| \d{3} \| (.*) \| (.*) \| \d \|$", page, re.MULTILINE)
    assert sorted(slug for slug, *_ in rows) == sorted(problems.rows())
    common = TargetProblem.__annotations__.keys()
    for slug, meaning, cure in rows:
        assert cure.strip(), slug
        model = problem_shapes.WITH_MEMBERS.get(slug, TargetProblem)
        for member in model.__annotations__.keys() - common:
            assert f"`{member}`" in meaning + cure, (slug, member)


def test_pages_link_to_what_is_there() -> None:
    for page in [*DOCS.rglob("*.md"), DOCS.parent / "README.md", DOCS.parent / "CONTRIBUTING.md"]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
