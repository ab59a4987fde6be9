"""Reading by a field that grows: what is new since the last scan.

A scan first reads the documents that have no such field, or one of another type: nothing says whether they are
new. Then it goes through the values in order, the documents of one value in the order of their `_id`, so that an
index on the field alone is enough. The next scan starts `overlap` before the greatest value.

Position: `{"v": 1, "mode": "cursor", "cursor": <field>, …}` with `rest` (an `_id`) within the first part,
`value` and `id` (read up to this value and, of its documents, up to this `_id`) within the second, and
`top` (the greatest value) after a scan, all in canonical Extended JSON.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from platint_tui.core.errors import ConfigError
from platint_tui.core.model import JsonObject, Page
from platint_tui.core.text import clean
from platint_tui.drivers.mongodb.brackets import above, bracket_of, earlier, not_of_type, of_type
from platint_tui.drivers.mongodb.chunks import Chunk, Twins, ask, value_at
from platint_tui.drivers.mongodb.reading import Reading, found_at, kept, step_of, walk

MODE = "cursor"


async def read_incremental(reading: Reading, position: JsonObject | None) -> AsyncIterator[Page]:
    """Pages of one scan. Raises ConfigError for a field that cannot be read by, and what pymongo raises."""
    field = _field(reading)
    held = position if position is not None and position.get("cursor") == field else {}
    if held.get("mark", reading.place.mark) != reading.place.mark:
        held = {}
    scan = _Scan(reading, field, held)
    greatest = await scan.greatest()
    if scan.top and bracket_of(scan.top[0]) != bracket_of(greatest):
        # The values are of another type now, none of which was read; those of before belong to the rest.
        scan = _Scan(reading, field, {})
    if greatest is None:
        # No document has the field: the whole collection is what nothing is known of.
        async for page in scan.rest(None):
            yield page
        await reading.still_there()
        yield Page((), scan.position(), True)
        return
    async for page in scan.rest(greatest):
        yield page
    async for page in scan.rising(greatest):
        yield page
    await reading.still_there()
    yield Page((), scan.position(kept(scan.top or (greatest,), "top")), True)


def _field(reading: Reading) -> str:
    field = reading.options.cursor
    if field:
        return field
    raise ConfigError(
        f"Nothing says by which field '{clean(reading.place.name)}' is read.",
        where=reading.address.profile,
        hint="Name it in the integration: cursor: updatedAt.",
        code="no_cursor",
    )


class _Scan:
    """One scan. `top` is the greatest value that was read in this or an earlier one."""

    def __init__(self, reading: Reading, field: str, held: JsonObject) -> None:
        self._reading = reading
        self._field = field
        self._twins = Twins(reading.collection, reading.session)
        self.top = found_at(held, "top") or found_at(held, "value")
        self._rest = found_at(held, "rest")
        self._id = found_at(held, "id")
        self._value = found_at(held, "value")
        self._in_second = bool(self._value)

    def position(self, more: JsonObject | None = None) -> JsonObject:
        """The position with these members."""
        reading = self._reading
        head = {"v": 1, "mode": MODE, "cursor": self._field, "mark": reading.place.mark}
        return {**head, **(more or {})}

    async def greatest(self) -> Any:
        """The greatest value of the field, whose type is the one that counts; None without any."""
        reading, field = self._reading, self._field
        newest = reading.collection.find({}, session=reading.session, allow_disk_use=True)
        found = await newest.sort(field, -1).limit(1).to_list()
        value = value_at(found[0].raw, field) if found else None
        return self._single(value)

    def _single(self, value: Any) -> Any:
        if isinstance(value, list | dict):
            raise ConfigError(
                f"The field '{clean(self._field)}' holds {'lists' if isinstance(value, list) else 'objects'},"
                " which cannot say how new a document is.",
                where=self._reading.address.profile,
                hint="Read by another field, or with mode snapshot.",
                code="no_cursor",
            )
        return value

    async def rest(self, greatest: Any) -> AsyncIterator[Page]:
        """The documents whose field says nothing, every time."""
        if self._in_second:
            return
        within = None if greatest is None else not_of_type(self._field, greatest)
        async for step in walk(self._reading, self._rest, self._twins, within):
            if step.records or step.bad:
                yield step.page(self.position({**kept(self.top, "top"), **kept(step.place, "rest")}))

    async def rising(self, greatest: Any) -> AsyncIterator[Page]:
        """The documents in the order of the field, from the overlap before the last scan's greatest value."""
        reading, field = self._reading, self._field
        if not self._value and self.top:
            self._value = (earlier(self.top[0], reading.source.overlap),)
        while True:
            if self._value:
                async for page in self._equals():
                    yield page
            wanted = above(field, self._value[0]) if self._value else of_type(field, greatest)
            filters = [] if wanted is None else [wanted]
            chunk = await ask(reading.collection, reading.session, filters, field, reading.source.chunk)
            documents = chunk.documents
            if not documents:
                return
            edge = self._single(chunk.last(field))
            if edge is None:
                edge = self._single([])
            if chunk.full:
                # Those that share the last value may be cut in two: they are read by themselves.
                documents = list(documents)
                while documents and value_at(documents[-1].raw, field) == edge:
                    documents.pop()
            self._value, self._id = (edge,), ()
            self.top = (edge,)
            if documents:
                step = await step_of(Chunk(documents, True), self._twins, ())
                yield step.page(self.position(kept(self._value, "value")))
            if not chunk.full:
                return

    async def _equals(self) -> AsyncIterator[Page]:
        """The documents of the present value, after the `_id` that was reached."""
        async for step in walk(self._reading, self._id, self._twins, {self._field: {"$eq": self._value[0]}}):
            self._id = step.place
            if step.records or step.bad:
                place = {**kept(self._value, "value"), **kept(self._id, "id")}
                yield step.page(self.position(place))
