"""What a database offers: its collections and views, each with a shape taken from a bounded sample."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bson.raw_bson import RawBSONDocument
from pymongo.errors import OperationFailure

from platint_tui.core.clock import Clock
from platint_tui.core.model import Stream
from platint_tui.core.text import clean
from platint_tui.drivers.mongodb.connection import Address, Database, raw_collection
from platint_tui.drivers.mongodb.failures import TIME_LIMIT, UNAUTHORIZED, translate
from platint_tui.drivers.mongodb.reading import COLLECTION, Place, list_places
from platint_tui.drivers.mongodb.rights import Rights, rights_of
from platint_tui.drivers.mongodb.shape import shape_of
from platint_tui.drivers.mongodb.values import decoded

SAMPLE = 100
MOST_BYTES = 8 * 1024 * 1024
"""Bytes of documents after which a sample is large enough."""
_MOST_STREAMS = 2_000
_SAMPLE_MS = 5_000
_BUDGET_SECONDS = 60.0
_AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class _About:
    """What holds for the whole database."""

    database: Database
    address: Address
    rights: Rights
    has_changes: bool
    deadline: float
    clock: Clock


async def discover(database: Database, address: Address, clock: Clock) -> list[Stream]:
    """The streams of a database, by name. Samples end when their time is over: a hostile database does not hang
    it. Raises what pymongo raises.
    """
    hello = await database.client.admin.command("hello")
    rights = await rights_of(database)
    has_changes = bool(hello.get("setName")) or hello.get("msg") == "isdbgrid"
    about = _About(database, address, rights, has_changes, clock.monotonic() + _BUDGET_SECONDS, clock)
    places = sorted(await list_places(database), key=lambda item: item.name)
    gate = asyncio.Semaphore(_AT_ONCE)

    async def look(place: Place) -> Stream:
        async with gate:
            return await _stream(about, place)

    found = await asyncio.gather(*map(look, places[:_MOST_STREAMS]), return_exceptions=True)
    for item in found:
        if isinstance(item, BaseException):
            raise item
    return [item for item in found if isinstance(item, Stream)]


async def _stream(about: _About, place: Place) -> Stream:
    notes: list[str] = []
    refused = ""
    sample: list[dict[str, Any]] = []
    indexes: Sequence[Mapping[str, Any]] = []
    estimate = None
    if about.clock.monotonic() > about.deadline:
        notes.append("was not looked at: the others took all the time that a discovery has")
    else:
        try:
            sample = await _sample(about.database, place)
            if place.has_ids:
                estimate = await about.database[place.name].estimated_document_count()
                indexes = await (await about.database[place.name].list_indexes()).to_list()
        except OperationFailure as error:
            if error.code == UNAUTHORIZED and not sample:
                refused = translate(error, about.address).message
            elif error.code == TIME_LIMIT:
                notes.append(f"looking at a sample took longer than {_SAMPLE_MS // 1000} seconds")
            elif error.code != UNAUTHORIZED:
                raise
    schema = ((place.options or {}).get("validator") or {}).get("$jsonSchema")
    first = [next(iter(item["key"])) for item in indexes]
    shape = shape_of(sample, schema if isinstance(schema, Mapping) else None, first)
    modes = ["snapshot", *(["cursor"] if shape.cursors else [])]
    if place.has_ids and about.has_changes:
        modes.append("cdc")
    changed = [name for name in shape.cursors if name != "_id" and name not in first]
    if changed and place.has_ids:
        notes.append(
            f"no index begins with {', '.join(map(clean, changed))}: mode cursor sorts the whole collection"
        )
    unique = place.has_ids or shape.distinct
    writable = place.kind == COLLECTION and about.rights.allows(
        ["insert", "update"], about.database.name, place.name
    )
    return Stream(
        place.name,
        ("_id",) if unique else (),
        shape.cursors[0] if shape.cursors else None,
        shape.fields,
        readable=not refused,
        writable=place.kind == COLLECTION and writable is not False,
        estimate=estimate,
        notes=(*shape.notes, *notes),
        cursors=shape.cursors,
        needs=("read",),
        refused=refused,
        kind=place.kind,
        modes=tuple(modes),
        facts=_facts(place, indexes, len(sample)),
    )


async def _sample(database: Database, place: Place) -> list[dict[str, Any]]:
    """Some documents: random ones of a collection, the first of what has no order or is costly to go through."""
    collection = raw_collection(database, place.name)
    if place.has_ids:
        cursor = await collection.aggregate([{"$sample": {"size": SAMPLE}}], maxTimeMS=_SAMPLE_MS)
    else:
        cursor = await collection.aggregate([{"$limit": SAMPLE}], maxTimeMS=_SAMPLE_MS)
    found: list[RawBSONDocument] = []
    size = 0
    async with cursor:
        async for document in cursor:
            found.append(document)
            size += len(document.raw)
            if size >= MOST_BYTES:
                break
    return [decoded(item.raw) for item in found]


def _facts(place: Place, indexes: Sequence[Mapping[str, Any]], sampled: int) -> tuple[tuple[str, str], ...]:
    facts = []
    if indexes:
        names = [
            f"{', '.join(map(str, item['key']))}{' (unique)' if item.get('unique') else ''}"
            for item in indexes
        ]
        facts.append(("indexes", clean("; ".join(names))))
    view_on = (place.options or {}).get("viewOn")
    if view_on:
        facts.append(("view of", clean(str(view_on))))
    if (place.options or {}).get("validator"):
        facts.append(("validator", "documents are checked when they are written"))
    facts.append(("sampled", f"{sampled:,} documents"))
    return tuple(facts)
