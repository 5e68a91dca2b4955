"""The page of /docs is whole, loads nothing from elsewhere, and asks who is there."""

from __future__ import annotations

import gzip
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from support.wire import Served

ROOT = Path(__file__).parents[3]
KEPT = ROOT / "api" / "farpeek_api" / "openapi" / "page"
FILES = {
    "init.js": "text/javascript",
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
}


class Loads(HTMLParser):
    """What a page loads, and what it says inline."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.urls: list[str] = []
        self.inline = ""
        self._within = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._within = tag
        for name, value in attrs:
            assert not name.startswith("on")
            assert name != "style"
            if name in ("src", "href") and value is not None:
                self.urls.append(value)

    def handle_data(self, data: str) -> None:
        if self._within in ("script", "style"):
            self.inline += data.strip()


def test_the_page_loads_only_what_is_beside_it(served: Served) -> None:
    reply = served.request("GET", "/docs")
    assert reply.headers["content-type"] == "text/html; charset=utf-8"
    loads = Loads(reply.body.decode())
    assert loads.inline == ""
    assert sorted(loads.urls) == ["data:,", *(f"docs/{name}" for name in sorted(FILES))]


def test_the_browser_is_told_to_load_nothing_else(served: Served) -> None:
    policy = served.request("GET", "/docs").headers["content-security-policy"]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["script-src"] == rules["style-src"] == rules["connect-src"] == "'self'"
    assert "unsafe" not in policy
    assert rules["frame-ancestors"] == "'none'"


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_the_same_packed_or_not(name: str, served: Served) -> None:
    plain = served.request("GET", f"/docs/{name}")
    assert plain.status == 200
    assert plain.headers["content-type"] == f"{FILES[name]}; charset=utf-8"
    assert "content-encoding" not in plain.headers
    packed = served.request("GET", f"/docs/{name}", headers={"Accept-Encoding": "br, gzip"})
    if packed.headers.get("content-encoding") == "gzip":
        assert gzip.decompress(packed.body) == plain.body
        assert len(packed.body) < len(plain.body) / 3
    else:
        assert packed.body == plain.body == (KEPT / name).read_bytes()


@pytest.mark.parametrize("name", ["nothing.js", "index.html", "swagger-ui.css.gz", "..%2Finit.js"])
def test_there_are_no_other_files(name: str, served: Served) -> None:
    reply = served.request("GET", f"/docs/{name}")
    assert (reply.status, reply.slug) == (404, "not-found")


@pytest.mark.parametrize("path", ["/docs", "/openapi.json", *(f"/docs/{name}" for name in FILES)])
def test_nothing_is_shown_to_who_is_not_known(path: str, served: Served) -> None:
    assert served.request_tcp("GET", path).slug == "unauthenticated"


def test_no_validator_is_asked_over_the_network() -> None:
    assert "validatorUrl: null" in (KEPT / "init.js").read_text()


def test_the_licences_are_beside_it() -> None:
    assert "Apache License" in (KEPT / "swagger-ui.LICENSE.txt").read_text()
    assert "SmartBear" in (KEPT / "swagger-ui.NOTICE.txt").read_text()
    assert "React" in (KEPT / "swagger-ui-bundle.js.LICENSE.txt").read_text()


@pytest.mark.slow
def test_what_is_kept_is_what_the_registry_has(tmp_path: Path) -> None:
    if shutil.which("npm") is None:
        pytest.skip("there is no npm (Debian: npm)")
    found = re.search(r"^SWAGGER_UI := (\S+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert found is not None
    command = ["npm", "pack", "--silent", f"swagger-ui-dist@{found[1]}"]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=120)
    (archive,) = tmp_path.glob("*.tgz")
    shutil.unpack_archive(archive, tmp_path, filter="data")
    for name in ("swagger-ui-bundle.js", "swagger-ui.css"):
        kept = gzip.decompress((KEPT / f"{name}.gz").read_bytes())
        assert kept == (tmp_path / "package" / name).read_bytes()
