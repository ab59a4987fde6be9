"""Reading a collection a bounded chunk at a time, each by a query of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bson.raw_bson import RawBSONDocument

from platint_tui.core.model import BadElement, Record
from platint_tui.drivers.mongodb.brackets import Filter, after
from platint_tui.drivers.mongodb.connection import Raw, Session
from platint_tui.drivers.mongodb.values import Bytes, decoded, identified, plain_id

MOST_BYTES = 16 * 1024 * 1024
"""A chunk ends when its documents have this many bytes."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Documents in order; `full` says that there may be more behind them."""

    documents: Sequence[RawBSONDocument]
    full: bool

    @property
    def bytes(self) -> int:
        """Bytes of all documents."""
        return sum(len(item.raw) for item in self.documents)

    def last(self, field: str) -> Any:
        """The value of a field (a path with dots) in the last document, with its type of BSON."""
        return value_at(self.documents[-1].raw, field)


def value_at(raw: Bytes, path: str) -> Any:
    """The value at a path of a document, None where there is none."""
    found: Any = decoded(raw)
    for part in path.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


async def ask(
    collection: Raw,
    session: Session,
    filters: Sequence[Filter],
    order: str,
    limit: int,
    *,
    within: Filter | None = None,
) -> Chunk:
    """Up to `limit` documents that fit the filters, one filter after the other, each sorted by `order`."""
    found: list[RawBSONDocument] = []
    size = 0
    for item in filters:
        wanted = {"$and": [within, item]} if within and item else within or item
        cursor = collection.find(wanted, session=session, batch_size=limit, allow_disk_use=True)
        cursor = cursor.sort(order, 1).limit(limit - len(found))
        async with cursor:
            async for document in cursor:
                found.append(document)
                size += len(document.raw)
                if len(found) >= limit or size >= MOST_BYTES:
                    return Chunk(found, True)
    return Chunk(found, False)


async def by_id(
    collection: Raw, session: Session, place: Sequence[Any], limit: int, *, within: Filter | None = None
) -> Chunk:
    """The next documents in the order of `_id`, after the one in `place` (empty: from the first)."""
    filters = after("_id", place[0]) if place else [{}]
    return await ask(collection, session, filters, "_id", limit, within=within)


class Twins:
    """Finds documents that JSON could not tell apart: ObjectId('65…') and the text '65…' would be one record."""

    def __init__(self, collection: Raw, session: Session) -> None:
        self._collection = collection
        self._session = session
        self._has_texts: bool | None = None

    async def told_apart(self, items: Sequence[tuple[Any, Record | BadElement]]) -> list[Record | BadElement]:
        """The records of (`_id`, record) pairs; one whose key another document has as a text is a bad element."""
        if self._has_texts is None:
            texts = self._collection.find({"_id": {"$type": "string"}}, {"_id": 1}, session=self._session)
            self._has_texts = bool(await texts.limit(1).to_list())
        self._has_texts = self._has_texts or any(type(value) is str for value, _ in items)
        if not self._has_texts:
            return [item for _, item in items]
        looks = [plain_id(value) if type(value) is not str else None for value, _ in items]
        wanted = list({text for text in looks if isinstance(text, str)})
        if not wanted:
            return [item for _, item in items]
        cursor = self._collection.find({"_id": {"$in": wanted}}, {"_id": 1}, session=self._session)
        taken = {value_at(item.raw, "_id") async for item in cursor}
        return [
            BadElement(item.raw, "another document of the collection has its _id as a text")
            if look in taken
            else item
            for look, (_, item) in zip(looks, items, strict=True)
        ]


async def records_of(chunk: Chunk, twins: Twins) -> tuple[list[Record], list[BadElement]]:
    """The documents of a chunk as records, and those that cannot be one."""
    return split(await twins.told_apart([identified(document.raw) for document in chunk.documents]))


def split(items: Sequence[Record | BadElement]) -> tuple[list[Record], list[BadElement]]:
    """Records and bad elements apart, in their order."""
    records = [item for item in items if isinstance(item, Record)]
    return records, [item for item in items if isinstance(item, BadElement)]
