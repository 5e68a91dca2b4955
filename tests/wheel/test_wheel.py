"""`pip install farpeek` alone is enough: the wheel in a venv of its own, far from the checkout."""

from __future__ import annotations

import email
import gzip
import json
import subprocess
import sys
import venv
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.ending import end_process
from support.sample import Sample
from support.serving import UnixConnection, ask, environment_for_a_service
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PAGES = ("farpeek_api/openapi/page", "farpeek_api/ui/page")
PATIENCE_S = 300  # for pip, which may have to download


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    pip(sys.executable, "wheel", "--no-deps", "--wheel-dir", str(folder), str(ROOT))
    (made,) = folder.glob("farpeek-*-py3-none-any.whl")  # of every machine
    return made


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel and what it depends on; the folder of its programs."""
    home = tmp_path_factory.mktemp("installed")
    venv.create(home, with_pip=True)
    pip(str(home / "bin" / "python"), "install", str(wheel))
    return home / "bin"


def pip(python: str, *arguments: str) -> None:
    command = [python, "-m", "pip", "--disable-pip-version-check", "--quiet", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 0, done.stderr


def run(program: Path, *arguments: str, cwd: Path, url: str | None = None) -> str:
    """Run a program that knows nothing of the checkout; what it writes."""
    environment = {
        name: value for name, value in environment_for_a_service().items() if name != "PYTHONPATH"
    }
    if url is not None:
        environment["FARPEEK_URL"] = url
    done = subprocess.run(
        [program, *arguments],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_it_has_the_packages_the_page_and_the_licences_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (metadata,) = [name for name in names if name.endswith(".dist-info/METADATA")]
        about = email.message_from_bytes(archive.read(metadata))
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {
        "farpeek",
        "farpeek_api",
    }
    assert {"farpeek/py.typed", "farpeek_api/py.typed"} <= set(names)
    kept = {f"{page}/{path.name}" for page in PAGES for path in (ROOT / "api" / page).iterdir()}
    assert {name for name in names if name.startswith(PAGES)} == kept
    licences = {Path(name).name for name in names if ".dist-info/licenses/" in name}
    assert licences == {"LICENSE", *(Path(name).name for name in kept if name.endswith(".txt"))}
    assert not [name for name in names if "__pycache__" in name]
    assert str(about.get_payload()).lstrip().startswith("# farpeek")


def test_the_client_can_be_imported(installed: Path, tmp_path: Path) -> None:
    program = "import farpeek_api.client as client; print(client.__file__)"
    shown = run(installed / "python", "-c", program, cwd=tmp_path)
    assert Path(shown.strip()).is_relative_to(installed.parent)


def test_the_command_explains_itself(installed: Path, tmp_path: Path) -> None:
    assert "telescope" in run(installed / "farpeek", "--help", cwd=tmp_path)
    assert run(installed / "farpeek", "--version", cwd=tmp_path).startswith("farpeek ")


def test_the_demo_goes_through(installed: Path, tmp_path: Path) -> None:
    assert "exit" in run(installed / "farpeek", "demo", cwd=tmp_path)


@pytest.fixture
def serving(installed: Path, folder: Path) -> Iterator[Path]:
    """Serve from the wheel; the path of the socket."""
    path = folder / "run" / "farpeek.sock"
    process = subprocess.Popen(
        [installed / "farpeek", "serve", "--listen", f"unix:{path}"],
        cwd=folder,
        env=environment_for_a_service(),
        stderr=subprocess.PIPE,
    )
    try:
        until(path.exists, "the service listens")
        yield path
    finally:
        end_process(process)
        assert process.stderr is not None
        process.stderr.close()


def test_it_serves_the_document_and_the_pages(serving: Path) -> None:
    document = ask(UnixConnection(serving), "GET", "/openapi.json")
    assert document.body == (ROOT / "api" / "openapi.json").read_bytes()
    assert ask(UnixConnection(serving), "GET", "/docs").status == 200
    script = ask(UnixConnection(serving), "GET", "/docs/swagger-ui-bundle.js")
    packed = ROOT / "api" / PAGES[0] / "swagger-ui-bundle.js.gz"
    assert script.body == gzip.decompress(packed.read_bytes())
    for path, name in (("/", "index.html"), ("/ui/app.js", "app.js")):
        reply = ask(UnixConnection(serving), "GET", path)
        assert reply.body == (ROOT / "api" / PAGES[1] / name).read_bytes()


def test_commands_and_the_client_read(serving: Path, installed: Path, tmp_path: Path) -> None:
    url = f"unix:{serving}"
    program = (
        "import sys; from farpeek_api.client import Client\n"
        "with Client() as peek:\n"
        "    target = peek.target(int(sys.argv[1]))\n"
        "    print(target.read(int(sys.argv[2]), 16).hex())"
    )
    with Sample() as sample:
        words = (str(sample.pid), hex(sample.address), "16")
        shown = run(installed / "farpeek", "read", *words, "--format", "hex", cwd=tmp_path, url=url)
        assert shown.replace(" ", "").strip() == sample.bytes(0, 16).hex()
        shown = run(
            installed / "python",
            "-c",
            program,
            words[0],
            str(sample.address),
            cwd=tmp_path,
            url=url,
        )
        assert shown.strip() == sample.bytes(0, 16).hex()
        targets = json.loads(run(installed / "farpeek", "targets", "--json", cwd=tmp_path, url=url))
        assert str(sample.pid) in json.dumps(targets)


def test_all_parts_can_be_imported(installed: Path, tmp_path: Path) -> None:
    """Whatever is imported only when it is needed is there, too, but for what takes an extra."""
    program = (
        "import importlib, pkgutil, farpeek, farpeek_api\n"
        "extras = ('.__main__', '.assistants', '.drgn', '.yara')\n"
        "extras += ('.bus.', '.fleet', '.links', '.node', '.portal')\n"
        "for top in (farpeek, farpeek_api):\n"
        "    for found in pkgutil.walk_packages(top.__path__, top.__name__ + '.'):\n"
        "        if not any(each in found.name for each in extras):\n"
        "            importlib.import_module(found.name)\n"
        "print('all')"
    )
    assert run(installed / "python", "-c", program, cwd=tmp_path).strip() == "all"


@pytest.mark.parametrize(
    "words",
    [
        ("agent", "--node", "n1"),
        ("gateway", "--listen", "unix:/nowhere", "--client", "alice"),
        ("fleet", "ls", "--client", "alice"),
        ("sampler", "ls", "--client", "alice"),
        ("ps", "--node", "n1", "--client", "alice"),
    ],
)
def test_a_command_of_an_extra_says_which_one_it_takes(
    installed: Path, words: tuple[str, ...]
) -> None:
    command = [installed / "farpeek", *words, "--nats", "nats://127.0.0.1:1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode
    assert "pip install 'farpeek[fleet]'" in done.stderr
    assert "Traceback" not in done.stderr
