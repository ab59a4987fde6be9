"""What every way to read a collection needs: the collection itself, a session, and where it stands."""

from __future__ import annotations

import difflib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pymongo.errors import OperationFailure

from platint_tui.core.errors import ConfigError
from platint_tui.core.model import BadElement, JsonObject, Page, ReadOptions, Record
from platint_tui.core.text import clean
from platint_tui.drivers.mongodb.chunks import Chunk, Twins, by_id, records_of
from platint_tui.drivers.mongodb.connection import Address, Client, Database, Raw, Session, raw_collection
from platint_tui.drivers.mongodb.failures import UNAUTHORIZED
from platint_tui.drivers.mongodb.values import extended, unextended
from platint_tui.manifest.sources import Source

COLLECTION, VIEW, TIME_SERIES, CAPPED = "collection", "view", "time series", "capped collection"


@dataclass(frozen=True, slots=True)
class Place:
    """A collection or view as the database lists it. `mark` changes when it is made anew ("" when unknown)."""

    name: str
    kind: str
    mark: str = ""
    options: Mapping[str, Any] | None = None

    @property
    def has_ids(self) -> bool:
        """Whether `_id` is unique and indexed, so that it can be read in that order."""
        return self.kind in (COLLECTION, CAPPED)


def place_of(listed: Mapping[str, Any]) -> Place:
    """One entry of listCollections."""
    options = listed.get("options") or {}
    kind = str(listed.get("type", COLLECTION))
    if kind == "timeseries" or "timeseries" in options:
        kind = TIME_SERIES
    elif options.get("capped"):
        kind = CAPPED
    mark = (listed.get("info") or {}).get("uuid")
    return Place(str(listed["name"]), kind, bytes(mark).hex() if isinstance(mark, bytes) else "", options)


async def list_places(database: Database, name: str | None = None) -> list[Place]:
    """The collections and views of a database, or the one called `name`; those of the system are left out.

    A user who may not list them all gets those that it may read, without what is known of them.
    """
    only: dict[str, Any] = {"filter": {"name": name}} if name is not None else {}
    try:
        listed = await (await database.list_collections(**only)).to_list()
    except OperationFailure as error:
        if error.code != UNAUTHORIZED:
            raise
        named = await database.command("listCollections", nameOnly=True, authorizedCollections=True, **only)
        listed = named["cursor"]["firstBatch"]
    return [place_of(item) for item in listed if not str(item["name"]).startswith("system.")]


@dataclass(frozen=True, slots=True)
class Reading:
    """One read of one stream."""

    client: Client
    database: Database
    address: Address
    place: Place
    session: Session
    source: Source
    options: ReadOptions

    @property
    def collection(self) -> Raw:
        """The collection, its documents as bytes."""
        return raw_collection(self.database, self.place.name)

    async def still_there(self) -> None:
        """Raise ConfigError when the collection was dropped, or made anew: a scan that goes on finds nothing, and
        would look like a finished one."""
        found = await list_places(self.database, self.place.name)
        if not found or found[0].mark != self.place.mark:
            state = "was made anew" if found else "was dropped"
            raise ConfigError(
                f"The collection '{clean(self.place.name)}' {state} while it was read.",
                where=self.address.where,
                hint="Run again: it is read from the beginning.",
                code="collection_gone",
            )


async def find_place(database: Database, name: str, address: Address) -> Place:
    """The collection or view called `name`. Raises ConfigError when the database has none."""
    found = await list_places(database, name)
    if found:
        return found[0]
    near = difflib.get_close_matches(name, [item.name for item in await list_places(database)], 1)
    raise missing(name, address, near)


def missing(name: str, address: Address, near: Sequence[str] = ()) -> ConfigError:
    """The database has no such collection."""
    return ConfigError(
        f"The database '{clean(address.database)}' has no collection '{clean(name)}'.",
        where=address.where,
        hint=f"Did you mean '{clean(near[0])}'?" if near else "Names distinguish capital letters.",
        code="no_collection",
    )


@dataclass(frozen=True, slots=True)
class Step:
    """What one query of a walk brought. `place` is how to go on after it."""

    records: Sequence[Record]
    bad: Sequence[BadElement]
    bytes: int
    place: tuple[Any, ...]
    full: bool

    def page(self, position: JsonObject, *, last: bool = False) -> Page:
        """It as a page."""
        return Page(self.records, position, last, bytes=self.bytes, bad=self.bad)


async def step_of(chunk: Chunk, twins: Twins, place: tuple[Any, ...]) -> Step:
    """A chunk as a step."""
    records, bad = await records_of(chunk, twins)
    return Step(records, bad, chunk.bytes, place, chunk.full)


async def walk(
    reading: Reading, place: tuple[Any, ...], twins: Twins, within: Any = None
) -> AsyncIterator[Step]:
    """All documents in the order of `_id`, after the one in `place`; ends with a step that is not full."""
    while True:
        chunk = await by_id(reading.collection, reading.session, place, reading.source.chunk, within=within)
        if chunk.documents:
            place = (chunk.last("_id"),)
        yield await step_of(chunk, twins, place)
        if not chunk.full:
            return


def kept(place: tuple[Any, ...], name: str) -> JsonObject:
    """A place in a walk as a member of a position, nothing for its beginning."""
    return {name: extended(place[0])} if place else {}


def found_at(position: JsonObject, name: str) -> tuple[Any, ...]:
    """The place that a member of a position names."""
    return (unextended(position[name]),) if name in position else ()
