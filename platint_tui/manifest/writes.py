"""Which of a resource's writes a sync uses, and whether doing it twice does no more than doing it once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from platint_tui.core.errors import ConfigError, NotFound
from platint_tui.manifest.loader import family_of
from platint_tui.manifest.problems import did_you_mean, listing, shown

if TYPE_CHECKING:
    from platint_tui.manifest.schema import Connector, Resource, WriteOp

Operation = Literal["create", "upsert", "update", "delete"]
OPERATIONS: tuple[Operation, ...] = ("create", "upsert", "update", "delete")


@dataclass(frozen=True, slots=True)
class ChosenWrite:
    """A write of a resource. `idempotent`: a repeated write does no more than one."""

    name: str
    operation: WriteOp
    idempotent: bool


def writes_of(resource: Resource) -> tuple[str, ...]:
    """The names of the writes that a resource knows."""
    return tuple(name for name in OPERATIONS if resource.write and getattr(resource.write, name) is not None)


def chosen_write(connector: Connector, target: str, wanted: str = "") -> ChosenWrite:
    """The write of `target` that `wanted` names; without it `upsert`, or `create` where there is none.

    Raises NotFound for a target that the platform has not, ConfigError for a write that it does not know.
    """
    resource = connector.resources.get(family_of(connector, target))
    if resource is None:
        raise NotFound(
            f"{connector.name} has no {shown(target)}{did_you_mean(target, connector.resources) or '.'}",
            hint=f"It has {listing(sorted(connector.resources))}.",
        )
    known = writes_of(resource)
    if not known:
        writable = sorted(name for name, item in connector.resources.items() if writes_of(item))
        raise ConfigError(
            f"Nothing can be written to {shown(target)} of {connector.name}.",
            hint=f"Writable: {', '.join(writable)}." if writable else "The connector only reads.",
        )
    name = wanted or next((item for item in ("upsert", "create") if item in known), "")
    if name not in known:
        what = f"knows no {wanted}" if wanted else "can neither be upserted nor created"
        raise ConfigError(
            f"{shown(target)} of {connector.name} {what}, only {listing(known)}.",
            hint="" if wanted else "Say which with `operation` of the stream in the integration file.",
        )
    operation: WriteOp = getattr(resource.write, name)
    by_key = name != "create"
    # The key of a bulk request stands for all its rows: a row that is sent again with others has another one.
    keyed = operation.idempotency is not None and operation.bulk is None
    safe = keyed or operation.method in ("PUT", "DELETE")
    return ChosenWrite(name, operation, by_key or safe)
