"""Reading everything that a collection holds now.

Position: `{"v": 1, "mode": "snapshot", "mark": …, "after": <_id>}` within a scan, in canonical Extended JSON;
without `after` a scan begins. Views and time series have no order that can be resumed: they are read with one
cursor, and from the beginning after an interruption.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator

from bson.raw_bson import RawBSONDocument

from platint_tui.core.model import JsonObject, Page
from platint_tui.drivers.mongodb.chunks import MOST_BYTES, Chunk, Twins
from platint_tui.drivers.mongodb.reading import Reading, Step, found_at, kept, step_of, walk

MODE = "snapshot"
_START = {"v": 1, "mode": MODE}


async def read_snapshot(reading: Reading, position: JsonObject | None) -> AsyncIterator[Page]:
    """Pages of one scan. Raises ConfigError when the collection goes away, and what pymongo raises."""
    twins = Twins(reading.collection, reading.session)
    if not reading.place.has_ids:
        async with contextlib.aclosing(_at_once(reading, twins)) as steps:
            async for step in steps:
                if not step.full:
                    await reading.still_there()
                yield step.page(_START, last=not step.full)
        return
    begun = position is not None and position.get("mark") == reading.place.mark
    place = found_at(position, "after") if begun and position is not None else ()
    async for step in walk(reading, place, twins):
        if step.full:
            yield step.page({**_START, "mark": reading.place.mark, **kept(step.place, "after")})
        else:
            await reading.still_there()
            yield step.page(_START, last=True)


async def _at_once(reading: Reading, twins: Twins) -> AsyncGenerator[Step, None]:
    """Everything with one cursor, in steps of a chunk; the last one is not full."""
    size = reading.source.chunk
    found: list[RawBSONDocument] = []
    weight = 0
    async with reading.collection.find({}, session=reading.session, batch_size=size) as cursor:
        async for document in cursor:
            if len(found) >= size or weight >= MOST_BYTES:
                yield await step_of(Chunk(found, True), twins, ())
                found, weight = [], 0
            found.append(document)
            weight += len(document.raw)
    yield await step_of(Chunk(found, False), twins, ())
