"""Every bound that an operator can set, once: its name, meaning, limits and default.

`/v1/info` shows each of them as it holds, beside those that are no settings.
"""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from farpeek.model import Limits
from farpeek_api.serving import memory_limit

PREFIX = "FARPEEK_"
MIB = 1 << 20

_SECONDS = ("deadline", "exited_ttl", "head_timeout", "idle_timeout")
"""Bounds of which the unit is shown."""


class Bounds(BaseSettings):
    """How many, how large, how long: whatever a client or a target could have too much of."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True)

    access_threads: int = Field(
        default=32, ge=1, le=4096, description="threads for memory access that may wait"
    )
    nowait_threads: int = Field(
        default=8, ge=1, le=4096, description="threads for memory access that never waits"
    )
    bulk_threads: int = Field(default=4, ge=1, le=4096, description="threads for long ranges")
    plan_threads: int = Field(
        default=4, ge=1, le=4096, description="threads for plans, and as many for those of nowait"
    )
    max_plan_reads: int = Field(
        default=65_536, ge=1, le=1 << 20, description="reads that the steps of one plan ask for"
    )
    max_plan_rounds: int = Field(
        default=16_384, ge=1, le=1 << 20, description="vectored reads of one plan"
    )
    max_plan_rows: int = Field(default=65_536, ge=1, le=1 << 20, description="rows of one plan")
    target_threads: int = Field(
        default=4, ge=1, le=4096, description="threads at most for one target and mode"
    )
    target_waiting: int = Field(
        default=64,
        ge=1,
        le=65_536,
        description="requests that wait for those threads, and transfers of one target, at most",
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
    max_client_targets: int | None = Field(
        default=None,
        ge=1,
        le=1_000_000,
        description="running targets held by one client (default: three quarters of --max-targets)",
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
        description="bytes of memory and of large bodies held at once by all (less where a cgroup "
        "limits memory)",
    )
    max_client_inflight_bytes: int | None = Field(
        default=None,
        ge=1,
        le=1 << 39,
        description="of these bytes, by one client: no more than half (default: half)",
    )
    max_regions: int = Field(default=65_536, ge=1, le=1 << 20, description="regions of one request")
    max_body_bytes: int = Field(
        default=4 * MIB, ge=1024, le=64 * MIB, description="size of a request's body"
    )
    max_head_bytes: int = Field(
        default=32 << 10, ge=1024, le=MIB, description="size of all headers of a request"
    )
    head_timeout: float = Field(
        default=10.0,
        ge=0.1,
        le=3600,
        allow_inf_nan=False,
        description="seconds for the head of a request, once it has begun",
    )
    idle_timeout: float = Field(
        default=75.0,
        ge=0.1,
        le=86_400,
        allow_inf_nan=False,
        description="seconds that a connection may be silent between requests",
    )
    max_connections: int | None = Field(
        default=None,
        ge=4,
        le=1 << 20,
        description="connections at once (default: as many as descriptors allow, to 4096)",
    )
    max_client_connections: int | None = Field(
        default=None,
        ge=1,
        le=1 << 20,
        description="connections of one client (default: three quarters of --max-connections)",
    )
    max_client_streams: int = Field(
        default=256, ge=1, le=65_536, description="WebSockets of one client"
    )
    max_client_event_streams: int = Field(
        default=256, ge=1, le=65_536, description="streams of events of one client"
    )
    max_subscriptions: int = Field(
        default=4096, ge=1, le=65_536, description="subscriptions of all clients"
    )
    max_stream_subscriptions: int = Field(
        default=1024, ge=1, le=65_536, description="subscriptions of one WebSocket"
    )
    max_client_subscriptions: int | None = Field(
        default=None,
        ge=1,
        le=65_536,
        description="subscriptions of one client (default: three quarters of --max-subscriptions)",
    )
    exited_ttl: float = Field(
        default=300.0,
        ge=0,
        le=86_400,
        allow_inf_nan=False,
        description="seconds that an exited target stays listed",
    )

    @model_validator(mode="after")
    def _check_shares(self) -> Self:
        if self.max_request_bytes > self.max_inflight_bytes:
            raise ValueError("--max-request-bytes is over --max-inflight-bytes: lower it")
        if (self.max_client_inflight_bytes or 0) > self.max_inflight_bytes // 2:
            raise ValueError(
                "--max-client-inflight-bytes is over half of --max-inflight-bytes: lower it"
            )
        return self

    @property
    def limits(self) -> Limits:
        """Those that the service keeps."""
        return Limits(
            access_threads=self.access_threads,
            nowait_threads=self.nowait_threads,
            bulk_threads=self.bulk_threads,
            plan_threads=self.plan_threads,
            max_plan_reads=self.max_plan_reads,
            max_plan_rounds=self.max_plan_rounds,
            max_plan_rows=self.max_plan_rows,
            target_threads=self.target_threads,
            target_waiting=self.target_waiting,
            max_stuck_threads=self.max_stuck_threads,
            max_targets=self.max_targets,
            max_client_targets=self.max_client_targets,
            deadline_s=self.deadline,
            max_request_bytes=self.max_request_bytes,
            max_inflight_bytes=self.max_inflight_bytes,
            max_client_inflight_bytes=self.max_client_inflight_bytes,
            max_regions=self.max_regions,
            exited_ttl_s=self.exited_ttl,
        )

    @property
    def subscriptions_of_one(self) -> int:
        """Subscriptions of one client."""
        most = self.max_subscriptions
        return self.max_client_subscriptions or max(1, most - most // 4)

    def shown(self) -> dict[str, float | None]:
        """All of them, as `/v1/info` calls them; None for what the service finds out at start."""
        named: dict[str, float | None] = {
            f"{name}_s" if name in _SECONDS else name: getattr(self, name)
            for name in Bounds.model_fields
        }
        return {**named, "max_client_subscriptions": self.subscriptions_of_one}

    def under(self, memory: int | None) -> Self:
        """Give them with what was left open fitted into so many bytes of memory."""
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
