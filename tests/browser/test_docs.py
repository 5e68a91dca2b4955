"""/docs in a real browser: it shows every operation, works, and asks nobody else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from farpeek_api.operations import OPERATIONS

if TYPE_CHECKING:
    from support.browsing import Browsing


def test_every_operation_is_shown_and_nobody_else_is_asked(browsing: Browsing) -> None:
    browsing.open("/docs")
    shown = browsing.page.locator(".opblock")
    shown.first.wait_for()
    assert shown.count() == len(OPERATIONS)
    assert browsing.page.locator("text=Failed to load").count() == 0
    assert browsing.asked_elsewhere == []
    assert browsing.complaints == []


def test_an_operation_can_be_tried_out(browsing: Browsing) -> None:
    browsing.open("/docs#/service/info")
    block = browsing.page.locator("#operations-service-info")
    block.locator("text=Try it out").click()
    block.locator("button.execute").click()
    answer = block.locator(".live-responses-table .response").first
    answer.wait_for()
    assert answer.locator(".response-col_status").inner_text().startswith("200")
    assert '"api": "v1"' in answer.inner_text()
    assert browsing.complaints == []


def test_the_schemas_of_an_operation_unfold(browsing: Browsing) -> None:
    browsing.open("/docs#/memory/readv")
    block = browsing.page.locator("#operations-memory-readv")
    block.locator("text=urn:farpeek:problem:target-exited").first.wait_for()
    assert browsing.complaints == []
