"""Every setting, once: its name, meaning, bounds and default. All else derives from it."""

from __future__ import annotations

import argparse
import grp
import logging
import os
import re
from pathlib import Path  # noqa: TC003 - pydantic looks at it
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import NoDecode

from farpeek.kernel import capabilities
from farpeek.model import NowaitCheck
from farpeek_api import output
from farpeek_api.serving.bounds import PREFIX, Bounds
from farpeek_api.serving.listeners import (
    Address,
    TcpAddress,
    default_socket_path,
    parse_address,
)
from farpeek_api.serving.tls import TlsFiles

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_HOST_NAME = re.compile(r"\[[0-9a-fA-F:.]+\]|(\*\.)?[A-Za-z0-9._-]+")
# Kubernetes sets such variables in every pod beside a Service whose name starts with farpeek.
_KUBERNETES = re.compile(r"FARPEEK_(.*_)?(SERVICE_(HOST|PORT.*)|PORT(_\d+_.*)?)")

Commas = Annotated[list[str], NoDecode]
"""In a variable: separated by commas. As a flag: repeated."""


class Settings(Bounds):
    """What ``farpeek serve`` can be told, by flags or by ``FARPEEK_*`` variables; flags win."""

    listen: Commas = Field(
        default_factory=lambda: [f"unix:{default_socket_path()}"],
        description="unix:PATH, http://HOST:PORT or https://HOST:PORT; may be repeated (default: "
        "the sockets that a "
        f"supervisor hands over, else unix:{default_socket_path()})",
    )
    token_file: Path | None = Field(
        default=None,
        description="one bearer token per line, # comments (default: a token made at start, "
        "beside the socket, when a TCP listener is asked for)",
    )
    policy: Path | None = Field(
        default=None,
        description="who may do what (TOML; docs/policy.md): nobody else gets in. Read again "
        "on SIGHUP, or as --reload-interval says (default: root, the service's own user and tokens "
        "may do everything)",
    )
    audit: str | None = Field(
        default=None,
        description="where a line is left for each request: FILE, `stderr`, or `none` "
        "(docs/audit.md; default: stderr, for everything with --policy, else for writes alone)",
    )
    audit_full: Literal["refuse", "drop"] = Field(
        default="refuse",
        description="what happens where that takes no more: requests are refused, or lines dropped "
        "and counted",
    )
    allow_host: Commas = Field(
        default_factory=list,
        description="a further name that a request's Host may have; *.NAME for all with one label "
        "before it; may be repeated",
    )
    allow_writes: bool = Field(
        default=False, description="let clients write to targets' memory, too"
    )
    no_ui: bool = Field(default=False, description="serve no page at `/`")
    no_auth: bool = Field(
        default=False, description="no authentication (loopback and unix listeners only)"
    )
    insecure_listen: bool = Field(
        default=False, description="allow plain http on addresses that other hosts can reach"
    )
    tls_cert: Path | None = Field(
        default=None, description="certificate of https listeners, with its chain, in PEM"
    )
    tls_key: Path | None = Field(default=None, description="its key, in PEM, without a passphrase")
    tls_client_ca: Path | None = Field(
        default=None,
        description="a client's certificate of one of these CAs (PEM) is a credential",
    )
    reload_interval: float | None = Field(
        default=None,
        ge=0.1,
        le=86_400,
        description="seconds between two looks at the files of --policy, --tls-cert, --tls-key and "
        "--tls-client-ca: what has changed is taken anew, as on SIGHUP (default: on SIGHUP alone)",
    )
    socket_mode: int | None = Field(
        default=None,
        description="mode of unix sockets that it makes, octal (default: 0600, or 0660 with "
        "--socket-group)",
    )
    socket_group: str | None = Field(
        default=None,
        description="group of unix sockets that it makes, and of their folder; by name or number",
    )
    nowait_check: NowaitCheck = Field(
        default=NowaitCheck.AUTO,
        description="what is looked at before a nowait read on a kernel with PROCESS_VM_NOWAIT: "
        "auto (files that are not on a local filesystem), always, never",
    )
    keep_capabilities: Commas = Field(
        default_factory=list,
        description="a capability, like FOWNER, that is kept though farpeek needs none but "
        "those of docs/privileges.md; all keeps all; may be repeated",
    )
    tracing: bool = Field(
        default=False,
        description="make a span of OpenTelemetry for each request, sent by OTLP as the OTEL_* "
        "variables say (needs farpeek[otel])",
    )
    log_format: Literal["text", "json"] = Field(default="text", description="of logs on stderr")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="the least important line that is logged"
    )

    @field_validator("listen", "allow_host", "keep_capabilities", mode="before")
    @classmethod
    def _split_commas(cls, value: object) -> object:
        if isinstance(value, str):
            return [item.strip() for item in value.split(",") if item.strip()]
        return value

    @field_validator("listen")
    @classmethod
    def _check_listen(cls, value: list[str]) -> list[str]:
        if not value:
            raise ValueError("there is nothing to listen on: write unix:PATH or https://HOST:PORT")
        parsed = [parse_address(url) for url in value]
        if len(set(parsed)) < len(parsed):
            raise ValueError("the same address is named twice")
        return value

    @field_validator("allow_host")
    @classmethod
    def _check_hosts(cls, value: list[str]) -> list[str]:
        for name in value:
            if not _HOST_NAME.fullmatch(name):
                raise ValueError(f"{name!r} is no host name: write it without scheme and port")
        return [name.lower() for name in value]

    @field_validator("keep_capabilities")
    @classmethod
    def _check_capabilities(cls, value: list[str]) -> list[str]:
        names = [name.upper().removeprefix("CAP_") for name in value]
        if "ALL" in names:
            return list(capabilities.NAMES)
        for name in names:
            if name not in capabilities.NAMES:
                raise ValueError(f"there is no capability {name!r}: capabilities(7) lists them")
        return names

    @field_validator("socket_mode", mode="before")
    @classmethod
    def _parse_octal(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        if not re.fullmatch(r"(0o?)?[0-7]{3}", value):
            raise ValueError("write it in octal, like 0660")
        mode = int(value.removeprefix("0o"), 8)
        if mode & 0o111 or mode | 0o600 != mode:
            raise ValueError("a socket needs 0600, and execute bits mean nothing: write 0660")
        return mode

    @field_validator("socket_group")
    @classmethod
    def _check_group(cls, value: str | None) -> str | None:
        if value is not None and group_id(value) is None:
            raise ValueError(f"there is no group {value!r}: name one of `getent group`")
        return value

    @model_validator(mode="after")
    def _check_together(self) -> Settings:
        for address in self.addresses:
            self.check_reach(address)
        self._check_tls()
        if self.no_auth and self.token_file is not None:
            raise ValueError("--no-auth and --token-file contradict each other: give one")
        if self.no_auth and self.policy is not None:
            raise ValueError("--no-auth and --policy contradict each other: give one")
        if self.reload_interval is not None and self.policy is None and self.tls is None:
            raise ValueError(
                "--reload-interval looks at the files of --policy and of https: give one of them "
                "(tokens of --token-file are read at the start alone)"
            )
        return self

    def _check_tls(self) -> None:
        if (self.tls_cert is None) is not (self.tls_key is None):
            raise ValueError("--tls-cert and --tls-key go together: give both")
        if self.tls_client_ca is not None and self.tls_cert is None:
            raise ValueError("--tls-client-ca is for https listeners: give --tls-cert, too")
        has_tls = any(isinstance(each, TcpAddress) and each.tls for each in self.addresses)
        if has_tls and self.tls_cert is None:
            raise ValueError("an https listener needs --tls-cert and --tls-key")
        if self.tls_cert is not None and not has_tls:
            raise ValueError("--tls-cert is for https listeners: add --listen https://HOST:PORT")

    @property
    def tls(self) -> TlsFiles | None:
        """What https listeners are opened with."""
        if self.tls_cert is None or self.tls_key is None:
            return None
        return TlsFiles(self.tls_cert, self.tls_key, self.tls_client_ca)

    def check_reach(self, address: Address) -> None:
        """Refuse (ValueError) a listener that other hosts can reach, unless it is wanted so."""
        if address.is_local:
            return
        if self.no_auth:
            raise ValueError(f"--no-auth is for unix and loopback listeners only, not {address}")
        is_plain = isinstance(address, TcpAddress) and not address.tls
        if is_plain and not self.insecure_listen:
            raise ValueError(
                f"{address} is plain http that other hosts can reach: make it https with "
                "--tls-cert, or accept the risk with --insecure-listen"
            )

    @property
    def addresses(self) -> list[Address]:
        """``listen``, parsed."""
        return [parse_address(url) for url in self.listen]

    @property
    def names_listeners(self) -> bool:
        """Whether somebody said where to listen, so that ``listen`` is more than a default."""
        return "listen" in self.model_fields_set

    @property
    def unix_mode(self) -> int:
        """Permission bits of unix sockets."""
        if self.socket_mode is not None:
            return self.socket_mode
        return 0o600 if self.socket_group is None else 0o660

    @property
    def unix_group(self) -> int | None:
        """Number of the group of unix sockets; ``None`` leaves the service's own."""
        return None if self.socket_group is None else group_id(self.socket_group)

    @property
    def logging_level(self) -> int:
        """``log_level`` as a number of the logging module."""
        return logging.getLevelNamesMapping()[self.log_level.upper()]


def group_id(name: str) -> int | None:
    """Look a group up by its name, or take its number; ``None`` if there is no such group."""
    if name.isascii() and name.isdigit():
        return int(name) if int(name) < 2**32 - 1 else None
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        return None


class _Parser(output.Parser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; see `{self.prog} --help`\n")


def _flag(field: str) -> str:
    return "--" + field.replace("_", "-")


def in_order() -> list[str]:
    """Names of all settings as people look for them: the bounds come last."""
    return sorted(Settings.model_fields, key=lambda name: name in Bounds.model_fields)


def parser() -> argparse.ArgumentParser:
    """Make the parser of all flags of the service."""
    made = _Parser(
        prog="farpeek serve",
        description="Serve the memory of other processes over HTTP.",
        epilog=f"Each flag is also a variable: {PREFIX}LISTEN, {PREFIX}TOKEN_FILE, ... with commas "
        "in lists; flags win.",
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
    )
    add_flags(made, in_order())
    return made


def add_flags(made: argparse.ArgumentParser, names: Iterable[str]) -> None:
    """Add a flag for each setting; those that bound something go into a group of their own."""
    bounds = made.add_argument_group("bounds")
    for name in names:
        field = Settings.model_fields[name]
        text = (field.description or "").replace("%", "%%")
        if field.default not in (None, False) and field.default_factory is None:
            text += f" (default: {field.default})"
        options: dict[str, Any] = {
            "help": text,
            "metavar": name.rpartition("_")[2].upper(),
            "default": argparse.SUPPRESS,
        }
        if field.annotation is bool:
            options = {"help": text, "action": "store_true", "default": argparse.SUPPRESS}
        elif field.default_factory is not None:
            options["action"] = "append"
        (bounds if name in Bounds.model_fields else made).add_argument(_flag(name), **options)


def load(arguments: Sequence[str]) -> Settings:
    """Read flags and variables; a mistake ends the program: status 2, and a line that says it."""
    flag_parser = parser()
    return of_flags(flag_parser, vars(flag_parser.parse_args(arguments)))


def of_flags(flag_parser: argparse.ArgumentParser, flags: dict[str, Any]) -> Settings:
    """Do the same with flags that were read."""
    _refuse_unknown_variables(flag_parser)
    try:
        return Settings(**flags)
    except ValidationError as error:
        lines = [_complaint(each["loc"], each["msg"], flags) for each in error.errors()]
        flag_parser.exit(2, "".join(f"{flag_parser.prog}: {line}\n" for line in lines))


def _complaint(place: tuple[int | str, ...], message: str, flags: dict[str, Any]) -> str:
    message = message.removeprefix("Value error, ")
    if not place:
        return message
    field = str(place[0])
    origin = _flag(field) if field in flags else PREFIX + field.upper()
    return f"{origin}: {message}"


_OTHERS = {PREFIX + name for name in ("URL", "DENY", "NATS", "NODE", "CLIENT", "NKEY")}
"""Of the client commands, and what any process may have so as not to be read."""


def _refuse_unknown_variables(parser: argparse.ArgumentParser) -> None:
    known = {PREFIX + field.upper() for field in Settings.model_fields} | _OTHERS
    for name in sorted(os.environ):
        # A setting that is silently ignored (a policy, a misspelt token file) would be dangerous.
        if name.startswith(PREFIX) and name not in known and not _KUBERNETES.fullmatch(name):
            parser.exit(2, f"{parser.prog}: there is no setting {name}: unset it\n")
