"""The policy's file: TOML, checked to the last member, with the places of all mistakes."""

from __future__ import annotations

import difflib
import json
import os
import re
import stat
import tomllib
from datetime import datetime  # noqa: TC003 - pydantic looks at it
from fnmatch import translate
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar, cast

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from farpeek.model import Mode
from farpeek_api.policy.places import Places
from farpeek_api.policy.rules import Client, Globs, Identifiers, Policy, Rate, Rule
from farpeek_api.policy.verbs import Verb  # noqa: TC001 - pydantic looks at it

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path as FilePath

    from farpeek_api.policy.places import Path

LARGEST_FILE: Final = 1 << 20
MOST_SHOWN: Final = 20
"""Mistakes that are told at once."""

_MOST_CLIENTS: Final = 1024
_MOST_RULES: Final = 256
_LONGEST_TEXT: Final = 1024
_UNITS: Final = {"": 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_SIZE: Final = re.compile(r"([0-9]{1,15}) ?([KMG]iB|B)?")
_LONG_NUMBER: Final = re.compile(r"[0-9][0-9_]{4000,}")  # Python's own limit is 4,300 digits
_PART: Final = r"(?:[A-Za-z0-9_-]++|\"[^\"\n]*+\"|'[^'\n]*+')[ \t]*+\.[ \t]*+"
_DEEP_KEY: Final = re.compile(rf"(?<![A-Za-z0-9_-])(?:{_PART}){{64}}")
"""Far deeper than any that is known here; tomllib's time grows with the square of it."""

_GLOBBED: Final = ("comm", "exe", "cgroup", "container")
_NUMBERED: Final = ("uid", "ns_pid")

T = TypeVar("T")


class PolicyError(Exception):
    """A file is no policy; ``str(error)`` has a line for each mistake: file, line, column, cure."""

    def __init__(self, lines: Sequence[str]) -> None:
        super().__init__("\n".join(lines))


def _as_list(value: object) -> object:
    return cast("object", value) if isinstance(value, list) else [value]


def _size(value: object) -> object:
    if not isinstance(value, str):
        return value
    found = _SIZE.fullmatch(value)
    if found is None:
        raise ValueError('write a number of bytes, like 1048576 or "64MiB"')
    return int(found[1]) * _UNITS[found[2] or ""]


def _aware(value: datetime) -> datetime:
    if value.tzinfo is None:
        raise ValueError("say of which time zone it is: put a Z behind it for UTC")
    return value


_Text = Annotated[str, Field(min_length=1, max_length=_LONGEST_TEXT)]
_Texts = Annotated[list[_Text], BeforeValidator(_as_list), Field(min_length=1, max_length=64)]
_Id = Annotated[int, Field(ge=0, lt=2**32 - 1)]
_Ids = Annotated[list[_Id], BeforeValidator(_as_list), Field(min_length=1, max_length=1024)]
_Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
_Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
_Label = Annotated[str, Field(min_length=1, max_length=63)]
_PerSecond = Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False, strict=False)]
_Bytes = Annotated[int, BeforeValidator(_size), Field(gt=0, le=1 << 50)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class _RuleTable(_Table):
    comm: _Texts | None = None
    exe: _Texts | None = None
    cgroup: _Texts | None = None
    container: _Texts | None = None
    uid: _Ids | None = None
    ns_pid: _Ids | None = None
    labels: Annotated[dict[_Label, _Texts], Field(min_length=1, max_length=32)] | None = None


class _RateTable(_Table):
    requests_per_s: _PerSecond | None = None
    burst: _PerSecond | None = None
    bytes_per_s: _Bytes | None = None
    ticks_per_s: _PerSecond | None = None
    connections: Annotated[int, Field(ge=1, le=1 << 20)] | None = None


_Rules = Annotated[list[_RuleTable], Field(max_length=_MOST_RULES)]


class _ClientTable(_Table):
    token_sha256: Annotated[list[_Digest], BeforeValidator(_as_list), Field(max_length=64)] = []
    unix_uid: Annotated[list[_Id], BeforeValidator(_as_list), Field(max_length=1024)] = []
    unix_gid: Annotated[list[_Id], BeforeValidator(_as_list), Field(max_length=1024)] = []
    tls_subject: Annotated[list[_Text], BeforeValidator(_as_list), Field(max_length=1024)] = []
    tls_san: Annotated[list[_Text], BeforeValidator(_as_list), Field(max_length=1024)] = []
    expires: Annotated[datetime, AfterValidator(_aware)] | None = None
    verbs: Annotated[list[Annotated[Verb, Field(strict=False)]], Field(min_length=1)]
    modes: Annotated[list[Annotated[Mode, Field(strict=False)]], Field(min_length=1)] | None = None
    targets: _Rules = []
    deny: _Rules = []
    override_opt_out: bool = False
    rate: _RateTable = _RateTable()
    impersonate: Annotated[list[_Name], Field(max_length=1024)] = []


class _File(_Table):
    clients: Annotated[dict[_Name, _ClientTable], Field(max_length=_MOST_CLIENTS)]


_CREDENTIALS: Final = ("token_sha256", "tls_subject", "tls_san", "unix_uid", "unix_gid")


def read(path: FilePath) -> Policy:
    """Read a file; PolicyError if it is none, or others may write to it."""
    try:
        # Not blocking, for a fifo would otherwise wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise PolicyError([f"{path}: cannot be read: {error.strerror}"]) from error
    try:
        _check_owner(path, os.fstat(descriptor))
        content = os.read(descriptor, LARGEST_FILE + 1)
    finally:
        os.close(descriptor)
    if len(content) > LARGEST_FILE:
        raise PolicyError([f"{path}: is over 1 MiB: no policy is that long"])
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        column = error.start - content.rfind(b"\n", 0, error.start)
        raise PolicyError([f"{path}:{line}:{column}: is no UTF-8, as TOML is"]) from error
    return parse(text, str(path))


def _check_owner(path: FilePath, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise PolicyError([f"{path}: is no regular file"])
    if status.st_uid not in (0, os.geteuid()):
        raise PolicyError([f"{path}: belongs to somebody else, who could change it: chown it"])
    if status.st_mode & 0o022:
        raise PolicyError([f"{path}: others can write to it: chmod go-w it"])


def parse(text: str, name: str) -> Policy:
    """Make a policy of a text; ``name`` is what mistakes are said to be in."""
    if deep := _DEEP_KEY.search(text):
        raise PolicyError([f"{name}:{_place(text, deep.start())}: is a key of too many parts"])
    try:
        content = tomllib.loads(text)
        places = Places(text)
    except tomllib.TOMLDecodeError as error:
        raise PolicyError([_syntax(str(error), name)]) from error
    except ValueError as error:  # of int()
        number = _LONG_NUMBER.search(text)
        at = f":{_place(text, number.start())}" if number else ""
        raise PolicyError([f"{name}{at}: has a number of too many digits"]) from error
    except RecursionError:
        raise PolicyError([f"{name}: has brackets in brackets without end"]) from None
    try:
        file = _File.model_validate(content)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=True)
        raise PolicyError(_complaints(found, name, places)) from error
    return _Maker(file, name, places).policy()


def _place(text: str, offset: int) -> str:
    begin = text.rfind("\n", 0, offset) + 1
    return f"{text.count(chr(10), 0, offset) + 1}:{offset - begin + 1}"


def _syntax(message: str, name: str) -> str:
    found = re.fullmatch(r"(.*) \(at line (\d+), column (\d+)\)", message, re.DOTALL)
    if found is None:  # (at end of document)
        return f"{name}: is no TOML: {message}"
    return f"{name}:{found[2]}:{found[3]}: is no TOML: {found[1]}"


def _complaints(found: Sequence[Any], name: str, places: Places) -> list[str]:
    lines: dict[str, None] = {}
    for each in found:
        path: Path = tuple(part for part in each["loc"] if part != "[key]")
        place = places.of(path)
        lines[f"{name}:{place}: {written(path)}: {_cause(each, path)}"] = None
    shown = list(lines)[:MOST_SHOWN]
    if len(lines) > MOST_SHOWN:
        shown.append(f"{name}: and {len(lines) - MOST_SHOWN} mistakes more")
    return shown


def _cause(found: Any, path: Path) -> str:  # noqa: ANN401 - a dictionary of pydantic's
    match found["type"]:
        case "extra_forbidden":
            return f"there is no such member{_nearest(str(path[-1]), _members(path[:-1]))}"
        case "missing":
            return "is missing"
        case "enum":
            known = re.findall(r"'([a-z]+)'", found["ctx"]["expected"])
            return f"is none of {', '.join(known)}"
        case "string_pattern_mismatch" if "token_sha256" in path:
            return "is no SHA-256: `farpeek token new NAME` prints one, of 64 digits 0-9a-f"
        case "string_pattern_mismatch":
            return "is no name: it has 1 to 64 letters, digits, and . _ - behind the first"
        case _:
            message = str(found["msg"]).removeprefix("Value error, ")
            return message[:1].lower() + message[1:]


def _members(path: Path) -> list[str]:
    model: type[_Table] = _File
    for part in path:
        if part == "rate":
            model = _RateTable
        elif part in ("targets", "deny"):
            model = _RuleTable
        elif part == "clients":
            model = _ClientTable
    return list(model.model_fields)


def _nearest(word: str, known: Sequence[str]) -> str:
    found = difflib.get_close_matches(word, known, 1)
    return f": is `{found[0]}` meant?" if found else f"; there are {', '.join(known)}"


def written(path: Path) -> str:
    """Write a path as people do: ``clients.profiler.targets[0].comm``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{_key(part)}"
    return text.removeprefix(".") or "the file"


def _key(name: str) -> str:
    """Write a key so that it stays in its line: what is in quotes in the file can be any text."""
    return name if name.isprintable() else json.dumps(name)


class _Maker:
    """Makes a policy of a file that is well-formed, and checks what its parts say together."""

    def __init__(self, file: _File, name: str, places: Places) -> None:
        self._file = file
        self._name = name
        self._places = places
        self._mistakes: list[str] = []
        self._warnings: list[str] = []

    def policy(self) -> Policy:
        identifiers = self._identifiers()
        impersonated = self._impersonated()
        for name, table in self._file.clients.items():
            has_one = any(getattr(table, each) for each in _CREDENTIALS)
            if not has_one and name not in impersonated:
                self._mistake(
                    ("clients", name),
                    "nobody can be this client: give it token_sha256, unix_uid, unix_gid, "
                    "tls_subject or tls_san, or let another client impersonate it",
                )
        clients = {name: self._client(name, each) for name, each in self._file.clients.items()}
        if self._mistakes:
            raise PolicyError(self._mistakes[:MOST_SHOWN])
        return Policy(clients, identifiers, self._warnings)

    def _mistake(self, path: Path, text: str) -> None:
        self._mistakes.append(f"{self._name}:{self._places.of(path)}: {written(path)}: {text}")

    def _warn(self, path: Path, text: str) -> None:
        self._warnings.append(f"{self._name}:{self._places.of(path)}: {written(path)} {text}")

    def _identifiers(self) -> Identifiers:
        return Identifiers(
            self._owners("token_sha256", str),
            self._owners("tls_subject", str),
            self._owners("tls_san", str),
            self._owners("unix_uid", int),
            self._owners("unix_gid", int),
        )

    def _owners(self, member: str, kind: type[T]) -> Mapping[T, str]:
        """Whose each credential is; two clients with one are a mistake."""
        owners: dict[T, str] = {}
        for name, table in self._file.clients.items():
            for number, each in enumerate(cast("list[T]", getattr(table, member))):
                assert isinstance(each, kind)  # noqa: S101 - the model has checked it
                other = owners.setdefault(each, name)
                if other != name:
                    self._mistake(
                        ("clients", name, member, number),
                        f"is the client {other!r} already: nobody can be two of them",
                    )
        return owners

    def _impersonated(self) -> set[str]:
        found: set[str] = set()
        for name, table in self._file.clients.items():
            for number, each in enumerate(table.impersonate):
                found.add(each)
                if each not in self._file.clients:
                    near = _nearest(each, list(self._file.clients))
                    path = ("clients", name, "impersonate", number)
                    self._mistake(path, f"there is no client {each!r}{near}")
        return found

    def _client(self, name: str, table: _ClientTable) -> Client:
        path: Path = ("clients", name)
        targets = self._rules((*path, "targets"), table.targets)
        deny = self._rules((*path, "deny"), table.deny)
        made = Client(
            name,
            verbs=frozenset(table.verbs),
            modes=frozenset(table.modes if table.modes is not None else Mode),
            targets=targets,
            deny=deny,
            overrides_opt_out=table.override_opt_out,
            rate=self._rate(table.rate),
            impersonates=frozenset(table.impersonate),
            places={each: self._said((*path, each)) for each in table.model_fields_set}
            | {"": self._said(path)},
            **({} if table.expires is None else {"expires": table.expires.timestamp()}),
        )
        if made.has_expired:
            self._warn((*path, "expires"), "is over: the client may do nothing any more")
        return made

    def _rules(self, path: Path, tables: Sequence[_RuleTable]) -> tuple[Rule, ...]:
        return tuple(self._rule((*path, number), each) for number, each in enumerate(tables))

    def _rule(self, path: Path, table: _RuleTable) -> Rule:
        said = {name: getattr(table, name) for name in table.model_fields_set}
        if not said:
            self._mistake(path, 'says nothing: name comm, exe, uid, ...; all are { comm = "*" }')
        made = Rule(
            self._said(path),
            {name: _globs(said[name]) for name in _GLOBBED if name in said},
            {name: frozenset(said[name]) for name in _NUMBERED if name in said},
            {name: _globs(each) for name, each in said.get("labels", {}).items()},
        )
        if made.rests_on_comm:
            self._warn(
                path,
                "rests on comm alone, which each process chooses for itself (prctl(2)): name exe, "
                "uid, cgroup or container, too",
            )
        return made

    def _said(self, path: Path) -> str:
        return f"{written(path)}, line {self._places.of(path).line}"

    @staticmethod
    def _rate(table: _RateTable) -> Rate:
        burst = table.burst or max(1.0, table.requests_per_s or 1.0)
        return Rate(
            table.requests_per_s, burst, table.bytes_per_s, table.ticks_per_s, table.connections
        )


def _globs(texts: Sequence[str]) -> Globs:
    return Globs(tuple(texts), tuple(re.compile(translate(each)) for each in texts))
