"""A target with pages of every kind."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.kinds import PageKinds, page_kinds

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageKinds]:
    with page_kinds(tmp_path_factory.mktemp("kinds")) as made:
        yield made
