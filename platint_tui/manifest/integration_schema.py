"""The typed form of an integration file. Every value of the contract is known here; `integration` says
which of them this version can run."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from platint_tui.manifest.fields import Bool, DataPath, Model, PlatformName, StreamName
from platint_tui.manifest.sources import Mode

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
FieldText = Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f\x7f]+$")]


class PlatformEntry(Model):
    """One end of an integration: a platform by its connector's name, and the profile that is used on it.

    A source of the type webhook is not read: its webhooks bring the records. `fallback` is a second target, for what
    the first one does not take.
    """

    name: PlatformName
    profile: Name
    type: Literal["api", "webhook", "sync"] = "sync"
    role: Literal["source", "target", "fallback"] | None = None
    endpoints: tuple[StreamName, ...] = ()


Change = Literal["evolve", "freeze", "discard_value", "dead_letter"]


class ContractEntry(Model):
    """What may change at the target, and what happens to a record that does not fit otherwise."""

    tables: Literal["evolve", "freeze"] = "evolve"
    columns: Change = "evolve"
    types: Change = "dead_letter"


class StreamEntry(Model):
    """How one stream goes to the target. `operation` is the write that is used there, where a platform has
    several; without it `upsert`, or `create` where there is none. `mode` is how the source is read where it has
    several ways, `cursor` the field to read by, `on_lost` what happens when the platform no longer has what
    follows the position, `deletes` whether records that are deleted there are deleted here.
    """

    mode: Mode | None = None
    cursor: DataPath | None = None
    on_lost: Literal["ask", "resnapshot", "skip", "stop"] = "ask"
    deletes: Literal["apply", "ignore"] = "apply"
    contract: ContractEntry = Field(default_factory=ContractEntry)

    operation: Literal["create", "upsert", "update", "delete"] | None = None
    target: StreamName | None = None
    key: tuple[DataPath, ...] | None = None
    select: tuple[FieldText, ...] = ()
    map: dict[FieldText, FieldText] = Field(default_factory=dict)


class IntegrationFile(Model):
    """An integration file."""

    integration: Name
    integration_type: Literal["api_integration", "webhook_automation", "data_sync", "full"] = "data_sync"
    platforms: tuple[PlatformEntry, ...] = Field(min_length=1)
    sync_direction: Literal["source_to_target", "target_to_source", "bidirectional"] = "source_to_target"
    sync_frequency: Literal["real_time", "hourly", "daily", "on_demand"] = "on_demand"
    error_strategy: Literal["retry", "dead_letter", "alert", "fallback"] = "dead_letter"
    monitoring: Bool = True
    streams: dict[StreamName, StreamEntry] = Field(default_factory=dict)
