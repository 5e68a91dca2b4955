"""The tools of the hex view: places side by side, snapshots, copies, downloads, wheel and keys."""

from __future__ import annotations

import ctypes
import mmap
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from support.looking import Looking
from support.pattern import pattern
from support.targets import start
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Route

    from support.wire import Served


@pytest.fixture
def looking(browser: Browser, listening: Served) -> Iterator[Looking]:
    token = (listening.path.parent / "token").read_text().strip()
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    looking = Looking(context.new_page(), f"http://127.0.0.1:{listening.port}", token)
    yield looking
    context.close()
    assert looking.wrong == []


def test_places_are_side_by_side_and_survive_a_reload(looking: Looking, listening: Served) -> None:
    with start("pointers") as target:
        page = looking.page
        looking.at(listening.register(target.pid), "memory", target["chains"])
        looking.shows(target["chains"], target["text"].to_bytes(8, "little"))
        page.get_by_role("button", name="Open beside it").click()
        second = page.get_by_role("region", name="Memory 2")
        second.get_by_label("Go to an address").fill("pointers:text")
        second.get_by_role("button", name="Go to", exact=True).click()
        cell = second.locator(f"[role=gridcell][data-address='{target['text']:#x}']")
        expect(cell).to_have_text("61")
        page.reload()
        expect(cell).to_have_text("61")
        second.get_by_role("button", name="Close this view").click()
        expect(second).to_have_count(0)


def test_what_differs_from_a_snapshot_is_marked(looking: Looking, listening: Served) -> None:
    with start("counters") as target:
        page = looking.page
        counters = target["counters"]
        looking.at(listening.register(target.pid), "memory", counters)
        looking.shows(counters, bytes(8))
        page.get_by_text("View", exact=True).click()
        page.get_by_role("button", name="Take a snapshot").click()
        expect(page.get_by_role("button", name="Forget the snapshot")).to_be_visible()
        assert target.command("set 1 7") == "set"
        expect(page.locator("[role=gridcell].differs")).to_have_count(1)
        expect(page.locator("[role=gridcell].differs")).to_have_attribute(
            "data-address", hex(counters + 8)
        )


def test_a_range_is_downloaded_byte_by_byte(
    looking: Looking, listening: Served, tmp_path: Path
) -> None:
    with start("pointers") as target:
        page = looking.page
        looking.at(listening.register(target.pid), "memory", target["text"])
        page.locator("summary").filter(has_text="Download").click()
        page.get_by_label("Range").fill("pointers:text+6")
        with page.expect_download() as caught:
            page.get_by_role("button", name="Download").click()
        caught.value.save_as(tmp_path / "range")
        assert (tmp_path / "range").read_bytes() == b"a text"


def test_the_wheel_scrolls_and_groups_are_turned_round(looking: Looking, listening: Served) -> None:
    with start("plain", "--marker", 0x1122334455667788) as target:
        page = looking.page
        marker = target["marker"]
        looking.at(listening.register(target.pid), "memory", marker)
        looking.shows(marker, bytes([0x88, 0x77]))
        page.get_by_text("View", exact=True).click()
        page.get_by_role("group", name="Bytes of a group").get_by_role("button", name="8").click()
        page.get_by_role("button", name="turned round").click()
        page.get_by_text("View", exact=True).click()
        row = looking.grid.get_by_role("row").filter(has_text=f"{marker:x}")
        expect(row.locator(".codes")).to_have_text("1122334455667788" * 2)
        looking.grid.hover()
        page.mouse.wheel(0, 20 * 100)
        expect(looking.cell(marker + 16 * 100)).to_be_visible()
        expect(looking.cell(marker)).to_have_count(0)


def test_memory_can_be_looked_at_by_keyboard_alone(looking: Looking) -> None:
    with start("plain", "--marker", 7) as target:
        page = looking.page
        looking.open("/")
        expect(page.get_by_role("row", name=str(target.pid)).first).to_be_visible()
        page.get_by_role("searchbox").focus()
        page.keyboard.type(str(target.pid))
        expect(page.get_by_role("row")).to_have_count(2)
        page.keyboard.press("Enter")
        page.get_by_role("searchbox").focus()
        page.keyboard.type(hex(target["marker"]))
        button = page.get_by_role("button", name=hex(target["marker"]))
        expect(button).to_be_visible()
        for _ in range(20):
            page.keyboard.press("Tab")
            if button.evaluate("each => each === document.activeElement"):
                break
        page.keyboard.press("Enter")
        looking.shows(target["marker"], bytes([7]))
        looking.grid.focus()
        page.keyboard.press("Control+End")
        looking.shows(target["marker"] + 4088, bytes([7]))


def test_a_letter_stands_for_its_byte(looking: Looking, listening: Served) -> None:
    with start("pointers") as target:
        text = target["text"]
        looking.at(listening.register(target.pid), "memory", text)
        looking.shows(text, b"a text")
        heading = looking.page.get_by_role("complementary").get_by_role("heading", level=2)
        cell = looking.page.locator(f"[data-address='{text:#x}']")
        row = looking.grid.get_by_role("row").filter(has=cell)
        row.locator(".letters > *").nth(text % 16 + 2).click()
        expect(heading).to_have_text(hex(text + 2))
        row.locator(".letters > *").nth(text % 16 + 4).click(modifiers=["Shift"])
        expect(row.locator(".letters .selected")).to_have_text(["t", "e", "x"])


def test_bytes_that_are_long_on_their_way_are_shown_as_not_known_yet(
    looking: Looking, listening: Served, tmp_path: Path
) -> None:
    with start("pages", tmp_path, 400) as target:
        page, far = looking.page, target["block"] + 40 * mmap.PAGESIZE
        looking.at(listening.register(target.pid), "memory", target["block"])
        looking.shows(target["block"], pattern(target["block"], 4))
        held = _Held()
        page.route("**/readv", held)
        looking.go_to(hex(far))
        expect(looking.cell(far)).to_have_text("··")
        held.let_go()
        looking.shows(far, pattern(far, 4))
        page.unroute("**/readv")


def test_symbols_come_out_of_memory_where_the_file_has_none(
    looking: Looking, listening: Served, tmp_path: Path
) -> None:
    base, path = _loaded("/libc.so.6")
    offset = ctypes.cast(ctypes.CDLL(None).getppid, ctypes.c_void_p).value
    assert offset is not None
    stripped = bytearray(path.read_bytes())
    stripped[0x28:0x30] = bytes(8)  # e_shoff
    stripped[0x3C:0x40] = bytes(4)  # e_shnum, e_shstrndx
    (tmp_path / "libc.so.6").write_bytes(stripped)
    environment = {"LD_LIBRARY_PATH": str(tmp_path)}
    with subprocess.Popen(["sleep", "1000"], env=environment) as process:
        try:
            until(
                lambda: str(tmp_path) in Path(f"/proc/{process.pid}/maps").read_text(),
                "its own libc is loaded",
            )
            there, _ = _loaded("/libc.so.6", process.pid)
            looking.at(listening.register(process.pid), "memory", there)
            looking.shows(there, b"\x7fELF")
            looking.go_to("libc.so.6:getppid")
            aside = looking.page.get_by_role("complementary")
            expect(aside.get_by_role("heading", level=2)).to_have_text(hex(there + offset - base))
            expect(aside).to_contain_text("libc.so.6:getppid")
        finally:
            process.kill()


class _Held:
    """Requests that wait until they are let go; those that come later do not."""

    def __init__(self) -> None:
        self._routes: list[Route] | None = []

    def __call__(self, route: Route) -> None:
        if self._routes is None:
            route.continue_()
        else:
            self._routes.append(route)

    def let_go(self) -> None:
        held, self._routes = self._routes or [], None
        for route in held:
            route.continue_()


def _loaded(name: str, pid: int | str = "self") -> tuple[int, Path]:
    """Say where a library begins in a process, and where its file is."""
    lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    first = next(line for line in lines if line.endswith(name))
    return int(first.partition("-")[0], 16), Path(first.split(maxsplit=5)[5])
