"""What people type: words of a command line, addresses, policies, tokens; and audits."""

from __future__ import annotations

import re
import tempfile
from contextlib import suppress
from pathlib import Path

from farpeek_api.audit import chain
from farpeek_api.audit.verifying import verify
from farpeek_api.cli.errors import WrongWord
from farpeek_api.cli.words import amounts, digits, expression, target
from farpeek_api.gate import tickets as one_time
from farpeek_api.gate.tokens import TokenError, Tokens, read_tokens
from farpeek_api.http.refusals import Unauthenticated
from farpeek_api.policy import file as policies
from farpeek_api.policy import tokens
from farpeek_api.serving import listeners

MAPPED = ("libfoo-1.2+b.so", "[heap]", "/opt/a b/c++", "ruby", "[stack]")
_PLACE = re.compile(r"policy:(\d+):(\d+): ")


def expressions(data: bytes) -> None:
    """An expression has an address, or is refused in words."""
    text = data.decode("utf-8", "surrogateescape")
    with suppress(WrongWord):
        found = expression.parse(text, lambda: MAPPED)
        assert 0 <= expression.evaluate(found, _Space()) < 1 << 64
    with suppress(WrongWord):
        start, end = expression.evaluate_range(
            expression.parse_range(text, lambda: MAPPED), _Space()
        )
        assert 0 <= start < end <= 1 << 64


class _Space:
    """Where all that has a name is at one place."""

    def base(self, name: str) -> int:
        assert name in MAPPED
        return 0x1000

    def symbol(self, name: str, file: str | None) -> int:
        assert file in (*MAPPED, None)
        return 0x2000 + len(name)

    def pointer(self, address: int) -> int:
        return address ^ (1 << 63)


def tickets(data: bytes) -> None:
    """Of the protocols that are offered, one is a ticket, or none is, or they are refused."""
    offered = data.decode("latin-1")
    with suppress(Unauthenticated):
        found = one_time.offered({"Sec-WebSocket-Protocol": offered})
        assert (found is None) is (one_time.MARK not in _words_of(offered))
        assert found is None or "," not in found


def _words_of(offered: str) -> set[str]:
    return {each.strip()[: len(one_time.MARK)] for each in offered.split(",")}


def words(data: bytes) -> None:
    """Targets, lengths and digits are what they say, or refused in words."""
    text = data.decode("utf-8", "surrogateescape")
    with suppress(WrongWord):
        found = target.parse(text)
        assert (found.pid is None) + (found.id is None) + (not found.match) == 2
        assert found.body("caller")
    with suppress(WrongWord):
        assert 0 < amounts.length(text) < 1 << 64
    with suppress(WrongWord):
        assert digits.digits(text).hex() == "".join(text.split()).lower()


def listen_addresses(data: bytes) -> None:
    """What is taken as an address is taken again as it is shown; a refusal is one of ours."""
    text = data.decode("utf-8", "surrogateescape")
    try:
        address = listeners.parse_address(text)
    except ValueError as error:
        assert "set_int_max_str_digits" not in str(error)
        return
    assert listeners.parse_address(str(address)) == address
    assert isinstance(address.is_local, bool)


def policy_files(data: bytes) -> None:
    """A file is a policy, or each line of the complaint is about a place that it has."""
    text = data.decode("utf-8", "replace")
    try:
        policies.parse(text, "policy")
    except policies.PolicyError as error:
        lines = text.split("\n")
        for complaint in str(error).split("\n"):
            assert complaint.startswith("policy:")
            assert complaint.isprintable()
            if found := _PLACE.match(complaint):
                line, column = map(int, found.groups())
                assert 1 <= line <= len(lines)
                assert 1 <= column <= len(lines[line - 1]) + 1


def token_words(data: bytes) -> None:
    """A token is whole or broken; one that was made and changed in one place is broken."""
    text = data.decode("utf-8", "surrogateescape")
    assert text not in Tokens(["a-token"]) or text == "a-token"
    assert isinstance(tokens.is_broken(text), bool)
    made = tokens.make()
    assert not tokens.is_broken(made)
    if len(data) > 1:
        at = 3 + data[0] % (len(made) - 3)
        other = "AB"[made[at] == "A"]
        assert tokens.is_broken(made[:at] + other + made[at + 1 :])


def token_files(data: bytes) -> None:
    """A file has tokens, or it is refused in one line without them."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        try:
            found = read_tokens(Path(file.name))
        except TokenError as error:
            assert "\n" not in str(error)
            return
        first = next(
            line.strip()
            for line in data.decode("ascii", "replace").splitlines()
            if line.strip() and not line.strip().startswith("#")
        )
        assert first in found


def audits(data: bytes) -> None:
    """Whatever the files of an audit are, each line of them is counted, or they cannot be read."""
    for line in data.split(b"\n"):
        parsed = chain.parse(line)
        assert parsed is None or parsed.seq > 0
    suffix = ".gz" if data.startswith(b"\x1f\x8b") else ".json"
    half = data.rfind(b"\n", 0, len(data) // 2 + 1) + 1
    with (
        tempfile.NamedTemporaryFile(suffix=suffix) as whole,
        tempfile.NamedTemporaryFile(suffix=".json") as first,
        tempfile.NamedTemporaryFile(suffix=".json") as second,
    ):
        for file, content in ((whole, data), (first, data[:half]), (second, data[half:])):
            file.write(content)
            file.flush()
        with suppress(OSError, EOFError):
            report = verify([Path(whole.name)])
            assert suffix == ".gz" or report.lines == len(data.removesuffix(b"\n").split(b"\n")) * (
                data != b""
            )
            two = verify([Path(second.name), Path(first.name)])
            assert suffix == ".gz" or two.lines == report.lines
