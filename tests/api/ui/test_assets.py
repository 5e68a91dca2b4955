"""The web page's files: whoever comes by a name of the service gets them, and nobody else."""

from __future__ import annotations

import gzip
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from farpeek_api.ui.assets import INDEX, KINDS, NODES
from support.waiting import PATIENCE_S
from support.wire import Served, parse, receive_all

if TYPE_CHECKING:
    from collections.abc import Mapping

    from support.wire import Reply

PAGE = Path(__file__).parents[3] / "api" / "farpeek_api" / "ui" / "page"
ALL = sorted(each.name for each in PAGE.iterdir() if each.suffix in KINDS)
FILES = [each for each in ALL if each != NODES]
PATHS = {name: "/" if name == INDEX else f"/ui/{name}" for name in FILES}


def get(served: Served, name: str, headers: Mapping[str, str] | None = None) -> Reply:
    return served.request_tcp("GET", PATHS[name], headers)


def test_nothing_is_beside_the_page_but_what_is_served_and_licences() -> None:
    assert {"index.html", "app.js"} <= set(FILES)
    assert {each.suffix for each in PAGE.iterdir()} <= {*KINDS, ".txt"}
    assert [each for each in ALL if each.endswith(".html")] == [INDEX, NODES]


@pytest.mark.parametrize("name", FILES)
def test_a_file_needs_no_token_and_is_the_same_packed_or_not(served: Served, name: str) -> None:
    plain = get(served, name)
    assert plain.status == 200
    assert plain.body == (PAGE / name).read_bytes()
    assert plain.headers["content-type"] == KINDS[Path(name).suffix]
    packed = get(served, name, {"Accept-Encoding": "br, gzip"})
    assert packed.headers["content-encoding"] == "gzip"
    assert gzip.decompress(packed.body) == plain.body
    assert "accept-encoding" in packed.headers["vary"].lower()


@pytest.mark.parametrize("name", FILES)
def test_a_browser_that_has_it_still_is_told_so(served: Served, name: str) -> None:
    first = get(served, name)
    assert first.headers["cache-control"] == "no-cache"
    again = get(served, name, {"If-None-Match": first.headers["etag"], "Accept-Encoding": "gzip"})
    assert (again.status, again.body) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    assert get(served, name, {"If-None-Match": '"another"'}).status == 200


@pytest.mark.parametrize("name", FILES)
def test_a_browser_is_told_to_load_nothing_else_and_to_run_nothing_inline(
    served: Served, name: str
) -> None:
    headers = get(served, name).headers
    rules = dict(
        (rule.strip() + " ").split(" ", 1) for rule in headers["content-security-policy"].split(";")
    )
    assert rules["default-src"].strip() == rules["frame-ancestors"].strip() == "'none'"
    assert rules["script-src"].strip() == rules["style-src"].strip() == "'self'"
    assert rules["connect-src"].strip() == "'self'"
    assert rules["require-trusted-types-for"].strip() == "'script'"
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert not [each for each in headers if each.startswith(("access-control", "set-cookie"))]


@pytest.mark.parametrize("path", PATHS.values())
def test_pages_of_others_and_names_of_others_get_none(served: Served, path: str) -> None:
    for headers in (
        {"Host": "evil.example"},
        {"Host": "192.0.2.1"},
        {"Host": "localhost:1", "Origin": "http://evil.example"},
        {"Origin": "null"},
    ):
        reply = served.request_tcp("GET", path, headers)
        assert (reply.status, reply.slug) == (403, "forbidden"), headers


def test_a_head_without_a_body_is_answered_as_well(served: Served) -> None:
    reply = served.request_tcp("HEAD", "/")
    assert (reply.status, reply.body) == (200, b"")
    assert int(reply.headers["content-length"]) == (PAGE / INDEX).stat().st_size


@pytest.mark.parametrize(
    "name", ["nothing.js", INDEX, NODES, "app.js.gz", "preact.LICENSE.txt", "..%2F__init__.py"]
)
def test_there_are_no_other_files(served: Served, name: str) -> None:
    reply = served.request_tcp("GET", f"/ui/{name}")
    assert (reply.status, reply.slug) == (404, "not-found")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        *[("POST", "/"), ("DELETE", "/ui/app.js")],
        *[("GET", each) for each in ("/ui", "/ui/", "/ui/a/b", "/ui/../v1/info")],
    ],
)
def test_nothing_else_is_public(served: Served, method: str, path: str) -> None:
    assert served.request_tcp(method, path).slug == "unauthenticated"


def test_what_a_page_sends_along_is_not_looked_at(served: Served) -> None:
    """A browser that has a wrong token still gets the page, which then asks for a right one."""
    assert served.request_tcp("GET", "/", {"Authorization": "Bearer wrong"}).status == 200


def test_a_service_may_have_no_page(folder: Path) -> None:
    with Served(folder, "--no-ui", "--listen", "http://127.0.0.1:0") as service:
        for path in PATHS.values():
            request = (
                f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
            )
            assert parse(service.exchange(request)).slug == "not-found"
            with socket.create_connection(("127.0.0.1", service.port), PATIENCE_S) as sock:
                sock.sendall(request)
                assert parse(receive_all(sock)).slug == "unauthenticated"
        assert service.request("GET", "/docs").status == 200
        described = service.request("GET", "/openapi.json").json["paths"]
        assert "/docs" in described
        assert not {"/", "/ui/{name}"} & described.keys()
        assert service.request_tcp("GET", "/livez").status == 200
