"""The change stream of one collection: its events in batches, and the place after each.

Facts of the protocol: mongodb.com/docs/manual/changeStreams and .../reference/change-events.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from bson.raw_bson import RawBSONDocument
from bson.timestamp import Timestamp
from pymongo.asynchronous.change_stream import AsyncCollectionChangeStream
from pymongo.errors import PyMongoError

from platint_tui.core.errors import ConfigError
from platint_tui.core.model import JsonObject
from platint_tui.drivers.mongodb.chunks import MOST_BYTES
from platint_tui.drivers.mongodb.reading import Reading
from platint_tui.drivers.mongodb.values import Bytes, decoded

# The description of an update may make an event larger than MongoDB allows; the document itself is enough.
_PIPELINE = [{"$project": {"updateDescription": 0}}]
_WAIT_MS, _SHORT_WAIT_MS = 1_000, 250
_MORE_SECONDS = 0.01
"""How long a batch waits for one more event."""

Token = Mapping[str, Any]
Arrival = RawBSONDocument | None


class Kind(StrEnum):
    """What a change means for the records: one is so now, one is gone, all are gone, or nobody can say."""

    WRITTEN = "written"
    DELETED = "deleted"
    EMPTIED = "emptied"
    RENAMED = "renamed"


@dataclass(frozen=True, slots=True)
class Change:
    """One event. `raw` are the bytes of the document, for a deleted one those of its key; `to` is the new name of
    the collection. `token` is the place after it.
    """

    kind: Kind
    token: Token
    happened_ms: int
    raw: Bytes = b""
    to: str = ""


class End(StrEnum):
    """Why a batch ended: more may come, everything up to the asked time came, the collection is another one."""

    OPEN = ""
    THROUGH = "through"
    INVALID = "invalid"


@dataclass(frozen=True, slots=True)
class Events:
    """A batch of changes, the place after it, and why it ended."""

    changes: tuple[Change, ...]
    token: Token
    end: End = End.OPEN


def token_time(token: Token) -> Timestamp | None:
    """The cluster time of a resume token: its `_data` begins with that, as type 0x82. None in another form."""
    data = str(token.get("_data", ""))
    try:
        return Timestamp(int(data[2:10], 16), int(data[10:18], 16)) if data.startswith("82") else None
    except ValueError:
        return None


def position_time(position: JsonObject) -> str:
    """When the place of a position was, as ISO 8601; "" where its token does not tell."""
    time = token_time(position["token"])
    return "" if time is None else datetime.fromtimestamp(time.time, UTC).isoformat()


async def token_of_now(reading: Reading) -> Token:
    """The place in the stream of changes of this moment. Raises ConfigError, and what pymongo raises."""
    async with await reading.collection.watch(session=reading.session) as stream:
        token = stream.resume_token
    if token is None:
        raise ConfigError(
            "This server gives no place in its stream of changes.",
            where=reading.address.where,
            hint="Change streams need MongoDB 4.2 or newer; read with mode snapshot or cursor.",
            code="no_change_streams",
        )
    return decoded(token.raw) if isinstance(token, RawBSONDocument) else dict(token)


class Feed:
    """An open change stream. Unless it is followed, events are wanted up to the cluster time `until`, or, when that
    is not known, to the first answer without any.
    """

    def __init__(
        self,
        stream: AsyncCollectionChangeStream[RawBSONDocument],
        reading: Reading,
        token: Token,
        until: Timestamp | None,
    ) -> None:
        self._stream = stream
        self._reading = reading
        self._token = token
        self._until = None if reading.options.follow else until
        self._waiting: asyncio.Task[Arrival] | None = None

    async def close(self) -> None:
        """Give up what is waited for, and the cursor at the server."""
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
        with contextlib.suppress(PyMongoError):
            await self._stream.close()

    async def batch(self) -> Events:
        """What came: changes as soon as there are any, or none with the place that the server has come to.

        A change of the collection itself is the last of its batch, whose place is after the end of the stream that
        follows it. Raises what pymongo raises.
        """
        changes: list[Change] = []
        size = 0
        while len(changes) < self._reading.source.chunk and size < MOST_BYTES:
            came = await self._arrival(_MORE_SECONDS if changes else None)
            if came is _LATER:
                break
            if came is None:
                self._token = self._moved()
                if not self._stream.alive:
                    return Events(tuple(changes), self._token, End.INVALID)
                end = End.THROUGH if not changes and self._is_through() else End.OPEN
                return Events(tuple(changes), self._token, end)
            assert isinstance(came, RawBSONDocument)
            time = came["clusterTime"]
            if self._until is not None and time > self._until:
                return Events(tuple(changes), self._token, End.THROUGH)
            token = decoded(came["_id"].raw)
            self._token = token
            size += len(came.raw)
            if came["operationType"] == "invalidate":
                return Events(tuple(changes), token, End.INVALID)
            change = self._change(came, token)
            if change is not None:
                changes.append(change)
                if change.kind in (Kind.EMPTIED, Kind.RENAMED):
                    return Events(tuple(changes), await self._closing(token), End.INVALID)
        return Events(tuple(changes), self._token)

    async def _closing(self, token: Token) -> Token:
        """The place after the event that ends the stream, which comes next; else the one that it has."""
        came = await self._arrival(None)
        ends = isinstance(came, RawBSONDocument) and came["operationType"] == "invalidate"
        return decoded(came["_id"].raw) if ends and isinstance(came, RawBSONDocument) else token

    async def _arrival(self, seconds: float | None) -> Arrival | object:
        """The next event, None after an answer without any, _LATER when none came in time."""
        if self._waiting is None:
            self._waiting = asyncio.ensure_future(self._stream.try_next())
        # The request goes on when the time is over: giving it up would cost the connection.
        await asyncio.wait({self._waiting}, timeout=seconds)
        if not self._waiting.done():
            return _LATER
        waiting, self._waiting = self._waiting, None
        return waiting.result()

    def _moved(self) -> Token:
        token = self._stream.resume_token
        return decoded(token.raw) if isinstance(token, RawBSONDocument) else token or self._token

    def _is_through(self) -> bool:
        """Whether the server has looked at everything up to the asked time."""
        if self._reading.options.follow:
            return False
        time = token_time(self._token)
        # A token of another form says nothing: then an answer without events is the end.
        return self._until is None or time is None or time >= self._until

    def _change(self, event: RawBSONDocument, token: Token) -> Change | None:
        kind = event["operationType"]
        wall = event.get("wallTime")
        happened = (
            int(wall.timestamp() * 1000) if isinstance(wall, datetime) else event["clusterTime"].time * 1000
        )
        if kind in ("insert", "update", "replace"):
            document = event.get("fullDocument")
            return None if document is None else Change(Kind.WRITTEN, token, happened, document.raw)
        if kind == "delete":
            return Change(Kind.DELETED, token, happened, event["documentKey"].raw)
        if kind in ("drop", "dropDatabase"):
            return Change(Kind.EMPTIED, token, happened)
        if kind == "rename":
            source, target = decoded(event["ns"].raw), decoded(event["to"].raw)
            if source["coll"] != self._reading.place.name:
                return Change(Kind.EMPTIED, token, happened)
            return Change(Kind.RENAMED, token, happened, to=str(target["coll"]))
        return None


_LATER = object()


@contextlib.asynccontextmanager
async def following(reading: Reading, token: Token, until: Timestamp | None) -> AsyncIterator[Feed]:
    """The changes after a place, with or without an end. Raises what pymongo raises."""
    stream = await reading.collection.watch(
        _PIPELINE,
        full_document="updateLookup",
        start_after=token,
        batch_size=reading.source.chunk,
        max_await_time_ms=_WAIT_MS if reading.options.follow else _SHORT_WAIT_MS,
    )
    feed = Feed(stream, reading, token, until)
    try:
        yield feed
    finally:
        await feed.close()
