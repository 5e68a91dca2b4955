"""What somebody waits for who looks at memory in a browser: a list, and bytes elsewhere."""

from __future__ import annotations

import shutil
import subprocess
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from bench import processes
from bench.framework import Case, Comparison, Prepared, Skipped
from bench.processes import PAGE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

    from bench.framework import Figures
    from bench.processes import Server

_PROCESSES = 500
_PAGES = 1 << 14
_JUMP = 4099 * PAGE
_PAINT, _LIST, _JUMPED = "first paint", "the list", "a jump"
_OURS, _BARE, _FETCH = "the page", "a page of a word", "one read by fetch"

_FIRST_PAINT = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
_ROWS = """() => new Promise((done) => {
  const look = () => document.querySelectorAll('tbody tr').length > 5
    ? done(performance.now()) : requestAnimationFrame(look);
  look();
})"""
_GO = """([hash, address]) => new Promise((done) => {
  const began = performance.now();
  location.hash = hash;
  const look = () => {
    const cell = document.querySelector(`[data-address='${address}']`);
    /^[0-9a-f]{2}$/.test(cell?.textContent.trim() ?? '')
      ? done(performance.now() - began) : requestAnimationFrame(look);
  };
  requestAnimationFrame(look);
})"""
_READ = """async ([target, address]) => {
  const began = performance.now();
  const Authorization = `Bearer ${sessionStorage.getItem('farpeek.token')}`;
  const headers = { Authorization, 'Content-Type': 'application/json' };
  const body = JSON.stringify({ addresses: [address], lengths: [1024], mode: 'nowait' });
  await (await fetch(`v1/targets/${target}/readv`, { method: 'POST', headers, body })).text();
  return performance.now() - began;
}"""


class _Window:
    """A browser in front of a service."""

    def __init__(self, browser: Browser, server: Server, target: str, block: int) -> None:
        self._browser = browser
        self._origin = "http://{}:{}".format(*server.tcp)
        self._token = server.authorization.rpartition(" ")[2]
        self._target = target
        self._block = block
        self._place = 0
        self._memory: Page | None = None

    def _open(self, path: str) -> Page:
        page = self._browser.new_context(viewport={"width": 1280, "height": 800}).new_page()
        page.add_init_script(f"sessionStorage.setItem('farpeek.token', '{self._token}')")
        page.goto(self._origin + path)
        return page

    def first_look(self) -> Figures:
        """Open the page in a context that has nothing of it, and go somewhere in one that has."""
        page = self._open("/")
        listed = page.evaluate(_ROWS)
        painted = page.evaluate(_FIRST_PAINT)
        page.context.close()
        return {_PAINT: painted, _LIST: listed, _JUMPED: self._jump()}

    def bare(self) -> Figures:
        """Open a page of a word."""
        page = self._open("/livez")
        page.wait_for_function(_FIRST_PAINT)
        painted = page.evaluate(_FIRST_PAINT)
        page.context.close()
        return {_PAINT: painted, _LIST: painted}

    def _jump(self) -> Any:  # noqa: ANN401 - a number of JavaScript's
        if self._memory is None:
            self._memory = self._open("/")
            self._memory.evaluate(_ROWS)
            self._memory.evaluate(_GO, self._somewhere())
        return self._memory.evaluate(_GO, self._somewhere())

    def _somewhere(self) -> list[str]:
        self._place = (self._place + _JUMP) % (_PAGES * PAGE)
        address = hex(self._block + self._place)
        return [f"#target={self._target}&view=memory&at={address}", address]

    def fetch(self) -> Figures:
        """Read as much by one request of the browser's."""
        assert self._memory is not None  # noqa: S101 - the other side has made it
        return {_JUMPED: self._memory.evaluate(_READ, [self._target, hex(self._block)])}


@contextmanager
def _prepare() -> Iterator[Prepared]:
    chromium = shutil.which("chromium")
    if chromium is None:
        raise Skipped("there is no chromium here")
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - for this case alone

    with ExitStack() as stack:
        for _ in range(_PROCESSES):
            asleep = stack.enter_context(subprocess.Popen(["sleep", "1000"]))
            stack.callback(asleep.kill)
        memory = stack.enter_context(processes.target(_PAGES))
        server = stack.enter_context(processes.service_on_tcp())
        with server.connect() as local:
            target = local.register(memory.pid)
        playwright = stack.enter_context(sync_playwright())
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        stack.callback(browser.close)
        window = _Window(browser, server, target, memory.numbers["block"])
        yield Prepared(
            {_OURS: window.first_look, _BARE: window.bare, _FETCH: window.fetch},
            [
                Comparison(_PAINT, "ms", _OURS, _BARE, at_most=300, result="figure"),
                Comparison(_LIST, "ms", _OURS, _BARE, result="figure"),
                Comparison(_JUMPED, "ms", _OURS, _FETCH, at_most=50, result="figure"),
            ],
        )


CASE = Case(
    "page",
    f"the web page in Chromium, with {_PROCESSES} processes: until it shows something, until it "
    "lists them, and until bytes elsewhere are there",
    _prepare,
)
