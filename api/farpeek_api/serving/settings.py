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
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from farpeek.model import Limits, NowaitCheck
from farpeek_api.serving import memory_limit
from farpeek_api.serving.listeners import Address, default_socket_path, parse_address

if TYPE_CHECKING:
    from collections.abc import Sequence

PREFIX = "FARPEEK_"
MIB = 1 << 20

_HOST_NAME = re.compile(r"\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+")
# Kubernetes sets such variables in every pod beside a Service whose name starts with farpeek.
_KUBERNETES = re.compile(r"FARPEEK_(.*_)?(SERVICE_(HOST|PORT.*)|PORT(_\d+_.*)?)")

Commas = Annotated[list[str], NoDecode]
"""In a variable: separated by commas. As a flag: repeated."""


class Settings(BaseSettings):
    """What ``farpeek serve`` can be told, by flags or by ``FARPEEK_*`` variables; flags win."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True)

    listen: Commas = Field(
        default_factory=lambda: [f"unix:{default_socket_path()}"],
        description="unix:PATH or http://HOST:PORT; may be repeated (default: the sockets that a "
        f"supervisor hands over, else unix:{default_socket_path()})",
    )
    token_file: Path | None = Field(
        default=None,
        description="one bearer token per line, # comments (default: a token made at start, "
        "beside the socket, when a TCP listener is asked for)",
    )
    allow_host: Commas = Field(
        default_factory=list,
        description="a further name that a request's Host may have; may be repeated",
    )
    allow_writes: bool = Field(
        default=False, description="let clients write to targets' memory, too"
    )
    no_auth: bool = Field(
        default=False, description="no authentication (loopback and unix listeners only)"
    )
    insecure_listen: bool = Field(
        default=False, description="allow plain http on addresses that other hosts can reach"
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
    access_threads: int = Field(
        default=32,
        ge=1,
        le=4096,
        description="threads for memory access that may wait; 8 more serve nowait, 4 long ranges",
    )
    target_threads: int = Field(
        default=4, ge=1, le=4096, description="threads at most for one target and mode"
    )
    max_stuck_threads: int = Field(
        default=256,
        ge=0,
        le=16_384,
        description="threads that hang in the kernel and are replaced, at most",
    )
    max_targets: int = Field(
        default=16_384, ge=1, le=1_000_000, description="targets held, exited ones included"
    )
    deadline: float = Field(
        default=10.0,
        ge=0.01,
        le=3600,
        allow_inf_nan=False,
        description="seconds for a read, for a request's body to arrive, and for a client to take "
        "the next piece of an answer",
    )
    max_request_bytes: int = Field(
        default=16 * MIB, ge=1, le=1 << 30, description="bytes of memory in one answer"
    )
    max_inflight_bytes: int = Field(
        default=256 * MIB,
        ge=1,
        le=1 << 40,
        description="bytes of memory held at once by all (less where a cgroup limits memory)",
    )
    max_regions: int = Field(default=65_536, ge=1, le=1 << 20, description="regions of one request")
    max_body_bytes: int = Field(
        default=4 * MIB, ge=1024, le=64 * MIB, description="size of a request's body"
    )
    exited_ttl: float = Field(
        default=300.0,
        ge=0,
        le=86_400,
        allow_inf_nan=False,
        description="seconds that an exited target stays listed",
    )
    nowait_check: NowaitCheck = Field(
        default=NowaitCheck.AUTO,
        description="what is looked at before a nowait read on a kernel with PROCESS_VM_NOWAIT: "
        "auto (files that are not on a local filesystem), always, never",
    )
    log_format: Literal["text", "json"] = Field(default="text", description="of logs on stderr")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="the least important line that is logged"
    )

    @field_validator("listen", "allow_host", mode="before")
    @classmethod
    def _split_commas(cls, value: object) -> object:
        if isinstance(value, str):
            return [item.strip() for item in value.split(",") if item.strip()]
        return value

    @field_validator("listen")
    @classmethod
    def _check_listen(cls, value: list[str]) -> list[str]:
        if not value:
            raise ValueError("there is nothing to listen on: write unix:PATH or http://HOST:PORT")
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
        if self.no_auth and self.token_file is not None:
            raise ValueError("--no-auth and --token-file contradict each other: give one")
        if self.max_request_bytes > self.max_inflight_bytes:
            raise ValueError("--max-request-bytes is over --max-inflight-bytes: lower it")
        return self

    def check_reach(self, address: Address) -> None:
        """Refuse (ValueError) a listener that other hosts can reach, unless it is wanted so."""
        if address.is_local:
            return
        if self.no_auth:
            raise ValueError(f"--no-auth is for unix and loopback listeners only, not {address}")
        if not self.insecure_listen:
            raise ValueError(
                f"{address} is plain http that other hosts can reach: put TLS in front and listen "
                "on loopback, or accept the risk with --insecure-listen"
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
    def limits(self) -> Limits:
        """The bounds that the service keeps."""
        return Limits(
            access_threads=self.access_threads,
            target_threads=self.target_threads,
            max_stuck_threads=self.max_stuck_threads,
            max_targets=self.max_targets,
            deadline_s=self.deadline,
            max_request_bytes=self.max_request_bytes,
            max_inflight_bytes=self.max_inflight_bytes,
            max_regions=self.max_regions,
            exited_ttl_s=self.exited_ttl,
        )

    def under(self, memory: int | None) -> Settings:
        """Give the settings with what was left open fitted into so many bytes of memory."""
        if memory is None:
            return self
        fitted: dict[str, int] = {}
        if "max_inflight_bytes" not in self.model_fields_set:
            fitted["max_inflight_bytes"] = memory_limit.inflight_for(
                memory, self.max_inflight_bytes
            )
        if "max_request_bytes" not in self.model_fields_set:
            inflight = fitted.get("max_inflight_bytes", self.max_inflight_bytes)
            fitted["max_request_bytes"] = memory_limit.request_for(inflight, self.max_request_bytes)
        return self.model_copy(update=fitted)

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


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; see `{self.prog} --help`\n")


def _flag(field: str) -> str:
    return "--" + field.replace("_", "-")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="farpeek serve",
        description="Serve the memory of other processes over HTTP.",
        epilog=f"Each flag is also a variable: {PREFIX}LISTEN, {PREFIX}TOKEN_FILE, ... with commas "
        "in lists; flags win.",
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
    )
    for name, field in Settings.model_fields.items():
        text = (field.description or "").replace("%", "%%")
        if field.default not in (None, False) and field.default_factory is None:
            text += f" (default: {field.default})"
        options: dict[str, Any] = {"help": text, "metavar": name.rpartition("_")[2].upper()}
        if field.annotation is bool:
            options = {"help": text, "action": "store_true"}
        elif field.default_factory is not None:
            options["action"] = "append"
        parser.add_argument(_flag(name), **options)
    return parser


def load(arguments: Sequence[str]) -> Settings:
    """Read flags and variables; a mistake ends the program: status 2, and a line that says it."""
    parser = _parser()
    flags = vars(parser.parse_args(arguments))
    _refuse_unknown_variables(parser)
    try:
        return Settings(**flags)
    except ValidationError as error:
        lines = [_complaint(each["loc"], each["msg"], flags) for each in error.errors()]
        parser.exit(2, "".join(f"{parser.prog}: {line}\n" for line in lines))


def _complaint(place: tuple[int | str, ...], message: str, flags: dict[str, Any]) -> str:
    message = message.removeprefix("Value error, ")
    if not place:
        return message
    field = str(place[0])
    origin = _flag(field) if field in flags else PREFIX + field.upper()
    return f"{origin}: {message}"


def _refuse_unknown_variables(parser: argparse.ArgumentParser) -> None:
    known = {PREFIX + field.upper() for field in Settings.model_fields}
    for name in sorted(os.environ):
        # A setting that is silently ignored (a policy, a misspelt token file) would be dangerous.
        if name.startswith(PREFIX) and name not in known and not _KUBERNETES.fullmatch(name):
            parser.exit(2, f"{parser.prog}: there is no setting {name}: unset it\n")
