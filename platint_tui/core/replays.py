"""Replays in words that every layer shares: how a job goes about it, what a simulation foresees, what came of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from typing import Any


class Order(StrEnum):
    """In which order the items of a job go.

    `newest`: of each record only its newest version is sent, which supersedes the older ones; right for targets
    that hold the present state (tables). `oldest`: every version is sent, those of one record one after the
    other, oldest first, different records side by side; right for events. `arrived`: one item after the other
    in the order of arrival, whatever record it is of; slow, for targets to which the order of everything counts.
    """

    NEWEST = "newest"
    OLDEST = "oldest"
    ARRIVED = "arrived"


class MappingOf(StrEnum):
    """Which version of the integration maps the payloads: today's, or that of the time when they failed."""

    TODAY = "today"
    THEN = "then"


@dataclass(frozen=True, slots=True)
class ReplayOptions:
    """How a job is carried out.

    `canary`: so many items go first, then the job waits for an operator's word, or goes on by itself with `auto`
    when all of them arrived. `rate`: items a second at most, 0 for as fast as the platform's limits allow; `ramp`:
    seconds until that rate is reached. `to_profile` and `to_target` send to another target (the same target name
    where it is empty); then the dead letters stay as they are unless `settle`. `unknown` takes those along whose
    last answer was lost, `forced` those that arrived already. `pauses`: when the target seems to be down the
    job pauses; without it the job ends and what is left is open.
    """

    canary: int = 0
    auto: bool = False
    rate: float = 0.0
    ramp: float = 0.0
    order: Order = Order.NEWEST
    mapping: MappingOf = MappingOf.TODAY
    to_profile: str = ""
    to_target: str = ""
    settle: bool = False
    unknown: bool = False
    forced: bool = False
    pauses: bool = False

    @property
    def keeps(self) -> bool:
        """Whether the dead letters stay as they are, whatever comes of sending them elsewhere."""
        return bool(self.to_profile) and not self.settle

    def document(self) -> dict[str, Any]:
        """As plain JSON; what is as usual is left out."""
        return {name: value for name, value in asdict(self).items() if value != getattr(AS_USUAL, name)}


AS_USUAL = ReplayOptions()
"""Everything at once, as fast as the limits allow, to where it was to go."""


NAMED = ReplayOptions(unknown=True)
"""How dead letters that a person named one by one are sent."""


def options_of(document: Mapping[str, Any]) -> ReplayOptions:
    """Options from their plain form. Raises ValueError for a value that is none of them."""
    known = {item.name for item in fields(ReplayOptions)}
    values = {name: value for name, value in document.items() if name in known}
    if "order" in values:
        values["order"] = Order(values["order"])
    if "mapping" in values:
        values["mapping"] = MappingOf(values["mapping"])
    options = ReplayOptions(**values)
    if options.canary < 0 or options.rate < 0 or options.ramp < 0:
        raise ValueError("canary, rate and ramp are numbers from 0")
    return options


# --- simulation ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Reason:
    """Why dead letters would not pass, or what is odd about them: one cause, how many, some of their numbers.

    `step` is where it shows: payload, patch, mapping, source (the stream's schema), target (its schema or its
    profile), render (the request cannot be made), answer (the recorded answer refuses it again).
    """

    step: str
    code: str
    field: str
    message: str
    count: int
    examples: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Forecast:
    """What would become of the dead letters of one fingerprint. `superseded` ones would not be sent: a newer
    version of their record is among those chosen, or was written since."""

    fingerprint: str
    total: int
    passing: int
    superseded: int
    reasons: tuple[Reason, ...]

    def words(self) -> str:
        """`412 of 430 would pass`."""
        return f"{self.passing:,} of {self.total:,} would pass"


@dataclass(frozen=True, slots=True)
class Rendered:
    """What would be sent for one dead letter, secrets masked, and to which target."""

    number: int
    record_key: str
    target: str
    request: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Simulation:
    """What a replay would do, foreseen without sending anything. `checked` of `total` were looked at when it was
    cancelled. `warnings` keep nothing from passing: values that are not as the source's schema has them, say.
    `judged`: so many had a recorded answer to just the request that would be sent again.
    """

    total: int
    checked: int
    passing: int
    superseded: int
    forecasts: tuple[Forecast, ...]
    warnings: tuple[Reason, ...]
    first: tuple[Rendered, ...]
    judged: int = 0
    cancelled: bool = False

    def words(self) -> str:
        """`412 of 430 would pass`."""
        return f"{self.passing:,} of {self.checked:,} would pass"


def simulation_of(document: Mapping[str, Any]) -> Simulation:
    """A simulation from the plain form (`dataclasses.asdict`) in which the engine stores it."""
    forecasts = tuple(
        Forecast(**{**item, "reasons": _reasons(item["reasons"])}) for item in document["forecasts"]
    )
    return Simulation(
        **{
            **document,
            "forecasts": forecasts,
            "warnings": _reasons(document["warnings"]),
            "first": tuple(Rendered(**item) for item in document["first"]),
        }
    )


def _reasons(documents: Sequence[Mapping[str, Any]]) -> tuple[Reason, ...]:
    return tuple(Reason(**{**item, "examples": tuple(item["examples"])}) for item in documents)


# --- jobs ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PlannedTarget:
    """Where a part of a job goes. `idempotent`: it may be sent the same item twice. `in_flight` items are out at
    a time; `rate` is what its limits let pass a second, None without a limit."""

    integration: str
    profile: str
    platform: str
    environment: str
    address: str
    count: int
    idempotent: bool
    in_flight: int
    rate: float | None


@dataclass(frozen=True, slots=True)
class BulkPlan:
    """What a job would do, shown before it is confirmed.

    `same_record` and `same_content` count the items beyond the first of equal records and of equal contents.
    Left out are: `unknown` (not asked for), `delivered` (not forced), `busy` (in another job), `outdated` (a newer
    version was written since), `closed` (discarded, edited and the like). `seconds` is the time that it takes at
    the allowed rate, None when nothing is known of it. `notes` are sentences that an operator should read. `newest`
    is the highest number among those that go: what fails later is not part of what is confirmed.
    """

    total: int
    targets: tuple[PlannedTarget, ...]
    oldest_ms: int | None
    same_record: int
    same_content: int
    unknown: int
    delivered: int
    busy: int
    outdated: int
    closed: int
    first: tuple[Rendered, ...]
    seconds: float | None
    notes: tuple[str, ...] = ()
    newest: int = 0


def bulk_plan_of(document: Mapping[str, Any]) -> BulkPlan:
    """A plan from the plain form in which the engine stores it."""
    return BulkPlan(
        **{
            **document,
            "targets": tuple(PlannedTarget(**item) for item in document["targets"]),
            "first": tuple(Rendered(**item) for item in document["first"]),
            "notes": tuple(document["notes"]),
        }
    )


@dataclass(frozen=True, slots=True)
class Settlement:
    """What came of an item: succeeded, failed, unknown, superseded, or released (not sent; pending again)."""

    dead_letter: str
    outcome: str
    code: str = ""
    message: str = ""
    request: Mapping[str, Any] | None = None
    response: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """Items of a job that ended alike for one cause. `outcome` is succeeded, failed, unknown, superseded or
    released; `message` is the newest one's, `examples` are numbers of dead letters."""

    outcome: str
    code: str
    message: str
    count: int
    examples: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Survey:
    """What is chosen for a job, counted by the store."""

    total: int
    oldest_ms: int | None
    same_record: int
    same_content: int
    left_out: Mapping[str, int]
    by_place: Mapping[tuple[str, str, int | None], int]
    """How many per (integration, stream, version of the integration); of a platform's own: ("", profile, None)."""
    first: tuple[str, ...] = field(default=())
    """Ids of the first five in the order in which they would go."""
    lost: int = 0
    """How many of the total were sent before and never answered."""
    newest: int = 0
    """The highest number among them."""
