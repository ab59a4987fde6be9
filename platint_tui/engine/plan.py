"""What the planner finds out about one stream before the first request is sent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from platint_tui.core.backoff import RetryPolicy
from platint_tui.core.model import Field, Integration, Profile, ReadOptions, StreamMapping, TargetPlan

Mapper = Callable[[dict[str, Any]], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Side:
    """One end of an integration: an account, its platform, and the version of the manifest in use."""

    profile: Profile
    platform: str
    manifest_version: str


@dataclass(frozen=True, slots=True)
class StreamPlan:
    """One stream of an integration, ready to run.

    `key` and `cursor` name fields of the source's record, `fields` are those of the target after mapping.
    `idempotent`: the target may be sent the same row twice without harm. `estimate` is the number of records
    that discovery saw, None when it is unknown. `follow`: it goes on without an end. `typed`: see TargetPlan.
    `retry` is how a lost connection is opened again, None where the driver does it; `pause` are the seconds
    between two scans of a source that is asked again and again. `version` is the integration's.
    `fed`: events bring records of it too.
    """

    integration: str
    stream: str
    source: Side
    target: Side
    mapping: StreamMapping
    key: tuple[str, ...]
    cursor: str | None
    fields: tuple[Field, ...]
    mapper: Mapper
    idempotent: bool
    estimate: int | None = None
    follow: bool = False
    typed: bool = False
    retry: RetryPolicy | None = None
    pause: float = 2.0
    version: int | None = None
    fed: bool = False

    def read_options(self, forms: frozenset[str] = frozenset()) -> ReadOptions:
        """How the source is told to read this stream; `forms` are the blocks that the target takes."""
        mapping = self.mapping
        return ReadOptions(
            sync=self.integration,
            mode=mapping.mode,
            cursor=mapping.cursor or None,
            key=self.key,
            follow=self.follow,
            on_lost=mapping.on_lost,
            forms=forms,
            columns=() if mapping.map or "*" in mapping.select else mapping.select,
        )

    def target_plan(self, epoch: int, run: str) -> TargetPlan:
        """What the target is told before rows arrive."""
        return TargetPlan(
            sync=self.integration,
            stream=self.stream,
            target=self.mapping.target,
            key=self.key,
            cursor=self.cursor,
            fields=self.fields,
            epoch=epoch,
            run=run,
            operation=self.mapping.operation,
            contract=self.mapping.contract,
            typed=self.typed,
        )


@dataclass(frozen=True, slots=True)
class IntegrationPlan:
    """All streams of one run of an integration."""

    integration: Integration
    source: Side
    target: Side
    streams: tuple[StreamPlan, ...]
