"""Every row of the privilege table in deploy/README.md, measured again."""

from __future__ import annotations

import pytest

from support.privileges import CASES, Case, measure, written


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_row_is_as_deploy_readme_says(case: Case) -> None:
    (row,) = (row for row in written() if row[:2] == (case.manifest, case.what))
    assert measure(case) == row


def test_the_table_has_these_rows_and_no_others() -> None:
    assert [row[:2] for row in written()] == [(case.manifest, case.what) for case in CASES]
