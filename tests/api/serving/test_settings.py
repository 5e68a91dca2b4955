"""Settings come from flags and variables, and a wrong one ends the start with a line that helps."""

from __future__ import annotations

import subprocess
import sys

import pytest

from farpeek.model import Limits
from farpeek_api.serving import settings as settings_module
from farpeek_api.serving.listeners import default_socket_path
from farpeek_api.serving.settings import Settings, load


def refuse(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Load settings that are wrong; what it says."""
    with pytest.raises(SystemExit) as caught:
        load(arguments)
    assert caught.value.code == 2
    return capsys.readouterr().err


def test_defaults_are_those_of_the_contract() -> None:
    chosen = load([])
    assert chosen.listen == [f"unix:{default_socket_path()}"]
    assert chosen.limits == Limits()
    assert chosen.max_body_bytes == 4 << 20
    assert (chosen.log_format, chosen.log_level, chosen.unix_mode) == ("text", "info", 0o600)
    assert chosen.token_file is None
    assert not chosen.no_auth
    assert not chosen.insecure_listen


def test_variables_set_what_flags_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FARPEEK_MAX_TARGETS", "10")
    monkeypatch.setenv("FARPEEK_DEADLINE", "2.5")
    monkeypatch.setenv("FARPEEK_NO_AUTH", "1")
    chosen = load(["--max-targets", "20"])
    assert (chosen.max_targets, chosen.deadline, chosen.no_auth) == (20, 2.5, True)


def test_lists_are_separated_by_commas_in_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FARPEEK_LISTEN", "unix:/run/a.sock, http://127.0.0.1:7335,")
    monkeypatch.setenv("FARPEEK_ALLOW_HOST", "Tools.Example,[fd00::1]")
    chosen = load([])
    assert chosen.listen == ["unix:/run/a.sock", "http://127.0.0.1:7335"]
    assert chosen.allow_host == ["tools.example", "[fd00::1]"]


def test_lists_are_repeated_as_flags() -> None:
    chosen = load(["--listen", "unix:/run/a,b.sock", "--listen", "http://[::1]:0"])
    assert [str(address) for address in chosen.addresses] == [
        "unix:/run/a,b.sock",
        "http://[::1]:0",
    ]


def test_a_group_gets_its_mode_and_a_mode_wins() -> None:
    assert load(["--socket-group", "0"]).unix_mode == 0o660
    assert load(["--socket-group", "root"]).unix_group == 0
    assert load(["--socket-group", "0", "--socket-mode", "0600"]).unix_mode == 0o600
    assert load(["--socket-mode", "0666"]).unix_mode == 0o666


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("--listen", "tcp://127.0.0.1:7335"),
        ("--listen", "unix:relative.sock"),
        ("--listen", "unix:/" + "x" * 107),
        ("--listen", "http://127.0.0.1"),
        ("--listen", "http://127.0.0.1:65536"),
        ("--listen", "http://:7335"),
        ("--listen", "http://[::g]:7335"),
        ("--listen", "http://user@host:1"),
        ("--allow-host", "http://name"),
        ("--allow-host", "*"),
        ("--allow-host", "*."),
        ("--allow-host", "a.*.example"),
        ("--allow-host", "*example"),
        ("--access-threads", "0"),
        ("--target-threads", "-1"),
        ("--max-stuck-threads", "x"),
        ("--max-targets", "1e9"),
        ("--deadline", "0"),
        ("--deadline", "nan"),
        ("--deadline", "inf"),
        ("--max-request-bytes", "0"),
        ("--max-inflight-bytes", "0"),
        ("--max-regions", "0"),
        ("--max-body-bytes", "10"),
        ("--exited-ttl", "-1"),
        ("--log-format", "xml"),
        ("--log-level", "loud"),
        ("--socket-mode", "rw"),
        ("--socket-mode", "0777"),
        ("--socket-mode", "0066"),
        ("--socket-group", "no-such-group"),
    ],
)
def test_a_wrong_value_is_told_in_one_line_with_its_flag(
    capsys: pytest.CaptureFixture[str], flag: str, value: str
) -> None:
    line = refuse(capsys, flag, value)
    assert line.count("\n") == 1
    assert line.startswith(f"farpeek serve: {flag}: ")


def test_a_wrong_variable_is_told_by_its_own_name(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FARPEEK_MAX_REGIONS", "many")
    assert refuse(capsys).startswith("farpeek serve: FARPEEK_MAX_REGIONS: ")


@pytest.mark.parametrize("flag", ["--policy-folder", "--tls-client-ca", "--tls-cert"])
def test_what_is_not_there_yet_is_refused(capsys: pytest.CaptureFixture[str], flag: str) -> None:
    line = refuse(capsys, flag, "x")
    assert flag in line
    assert line.count("\n") == 1


def test_flags_are_not_guessed(capsys: pytest.CaptureFixture[str]) -> None:
    assert "--max-target" in refuse(capsys, "--max-target", "1")


def test_a_variable_that_would_be_ignored_is_refused(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FARPEEK_POLICIES", "/etc/farpeek/policy.toml")
    assert "FARPEEK_POLICIES" in refuse(capsys)


def test_the_variable_of_the_client_commands_is_no_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    for of_clients in ("URL", "NATS", "NODE", "CLIENT", "NKEY"):
        monkeypatch.setenv(f"FARPEEK_{of_clients}", "http://127.0.0.1:7335")
    load([])


@pytest.mark.parametrize(
    "name", ["FARPEEK_PORT", "FARPEEK_SERVICE_HOST", "FARPEEK_PORT_7335_TCP_ADDR"]
)
def test_what_kubernetes_sets_for_a_service_of_that_name_is_not(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "tcp://10.0.0.1:7335")
    assert load([]).listen


@pytest.mark.parametrize("host", ["0.0.0.0", "[::]", "192.0.2.1", "tools.example"])  # noqa: S104 - to be refused
def test_plain_http_that_others_can_reach_is_refused_unless_said_so(
    capsys: pytest.CaptureFixture[str], host: str
) -> None:
    url = f"http://{host}:7335"
    assert "--insecure-listen" in refuse(capsys, "--listen", url)
    assert load(["--listen", url, "--insecure-listen"]).listen == [url]


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "[::1]", "localhost"])
def test_loopback_needs_no_such_flag(host: str) -> None:
    assert load(["--listen", f"http://{host}:7335", "--no-auth"]).no_auth


@pytest.mark.parametrize(
    "arguments",
    [
        ["--no-auth", "--insecure-listen", "--listen", "http://0.0.0.0:1"],
        ["--no-auth", "--token-file", "/etc/hosts"],
        ["--max-request-bytes", "2000", "--max-inflight-bytes", "1000"],
        ["--listen", "unix:/run/a.sock", "--listen", "unix:/run/a.sock"],
    ],
)
def test_what_does_not_go_together_is_refused(
    capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    assert refuse(capsys, *arguments).count("\n") == 1


def test_every_setting_has_a_description_and_a_flag(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        load(["--help"])
    assert caught.value.code == 0
    shown = capsys.readouterr().out
    for name, field in Settings.model_fields.items():
        assert f"--{name.replace('_', '-')}" in shown
        assert field.description
    assert settings_module.PREFIX in shown


@pytest.mark.parametrize("arguments", [["--help"], ["health", "--help"], ["--version"]])
def test_what_needs_no_server_loads_none(arguments: list[str]) -> None:
    program = (
        "import sys\n"
        "from farpeek_api.__main__ import main\n"
        "try:\n    main(sys.argv[1:])\n"
        "except SystemExit as end:\n    assert not end.code\n"
        "slow = {'aiohttp', 'pydantic', 'pydantic_settings', 'uvloop'} & set(sys.modules)\n"
        "assert not slow, slow\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], check=True, capture_output=True, text=True
    )
    assert "farpeek" in done.stdout
