"""Rows as keys: each a hash or a text of JSON, replaced as a whole.

What the keys hold is looked at first; each is then written by a script of one command that does nothing when the
key has changed meanwhile (it is looked at again then). So an older version never replaces a newer one, and nothing
that somebody else wrote is touched. Fields that a hash has no more go right after the others were written. A
repeated batch changes nothing, so it is tried again when the connection is lost.

A row counts as written when Redis has answered. That is memory; whether it survives a crash of the server is decided
by its append-only file (`appendfsync always` loses nothing, `everysec` up to a second). WAIT would tell how many
replicas have it, which is not the same and is not asked.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from redis.exceptions import ResponseError

from platint_tui.core.errors import ErrorClass, PlatintError, RecordError, TransientError
from platint_tui.core.model import Batch, Confirmed, Fault, Op, Row, TargetPlan, WriteResult
from platint_tui.core.text import clean
from platint_tui.drivers.base import DriverContext
from platint_tui.drivers.redis.check import refusal_of
from platint_tui.drivers.redis.connection import Command, Reply, Wire
from platint_tui.drivers.redis.errors import is_record_error, row_fault
from platint_tui.drivers.redis.places import Held, Place, Stored, held_of, if_still, looks, storing, written
from platint_tui.drivers.retries import Retries
from platint_tui.drivers.tables import version_of

_PART_ROWS = 1_000
_PART_BYTES = 8 * 1024 * 1024
_STALE_FIELDS = 3_000
_TRIES = 5


@dataclass(frozen=True, slots=True)
class _Item:
    """A row of a batch, the key that it goes to and what is to be sent for it."""

    index: int
    row: Row
    key: str
    stored: Stored

    @property
    def size(self) -> int:
        """Bytes that are sent, about."""
        return sum(map(len, self.stored.command))


class _Outcome:
    """What became of the rows so far."""

    def __init__(self) -> None:
        self.written = 0
        self.superseded = 0
        self.faults: list[tuple[int, Fault]] = []


class RowsTarget:
    """Writes rows of one stream to the keys of one prefix; made by `RedisDriver.open_target`. One connection."""

    transactional = False
    applies = frozenset(Op)

    def __init__(
        self,
        context: DriverContext,
        plan: TargetPlan,
        place: Place,
        primary: Callable[[], Awaitable[Wire]],
    ) -> None:
        self._place = place
        self._primary = primary
        self._connector = context.connector
        self._opening = Retries(context, "connect")
        self._writing = Retries(context, f"write {plan.target}")
        self._wire: Wire | None = None

    async def prepare(self) -> None:
        """Connect, and ask whether what will be sent is allowed. Raises ConfigError with the rule that is missing."""
        await self._opening.run(self._prepare)

    async def confirmed(self) -> Confirmed | None:
        """None: Redis keeps no position."""
        return None

    async def write(self, batch: Batch) -> WriteResult:
        """Refused rows come back as faults, the others are written.

        A truncate removes the keys under the target's prefix that hold rows of ours. Raises TransientError when
        the server stays away through all tries, ConfigError, SystemicError (its memory is full, it cannot save).
        """
        return await self._writing.run(lambda: self._write(batch))

    async def close(self) -> None:
        """Close the connection."""
        wire, self._wire = self._wire, None
        if wire is not None:
            await wire.close()

    async def _connected(self) -> Wire:
        if self._wire is None or self._wire.lost:
            self._wire = await self._primary()
        return self._wire

    async def _prepare(self) -> None:
        wire = await self._connected()
        key = self._place.key('["platint-tui:probe"]')
        stored = storing(self._place, Row("[]", "{}", {}, None, ""))
        needed: list[Command] = [
            *looks(self._place, key),
            if_still(self._place, key, b"=", "DEL"),
            (stored.command[0], key, *stored.command[1:]),
            ("DEL", key),
            *((("HDEL", key, "_key"),) if self._place.shape == "hash" else ()),
        ]
        refusal = await refusal_of(wire, needed, f"{self._place.name}:*")
        if refusal is not None:
            raise refusal

    async def _write(self, batch: Batch) -> WriteResult:
        outcome = _Outcome()
        wire = await self._connected()
        try:
            for part in self._parts(batch.rows, outcome):
                if part[0].row.op is Op.TRUNCATE:
                    await self._truncate(wire)
                    outcome.written += 1
                else:
                    await self._store(wire, part, outcome)
        except PlatintError as error:
            if error.code != "READONLY":
                raise
            # It was the primary when we connected: a failover is under way.
            await wire.close()
            raise TransientError(
                "The server has become a replica.", where=error.where, hint=error.hint, code="READONLY"
            ) from None
        outcome.faults.sort(key=lambda item: item[0])
        return WriteResult(outcome.written, outcome.superseded, outcome.faults)

    def _parts(self, rows: Iterable[Row], outcome: _Outcome) -> Iterable[list[_Item]]:
        """The rows in order, in parts for one transaction each: of limited size, no key twice, a truncate alone."""
        part: dict[str, _Item] = {}
        size = 0
        for index, row in enumerate(rows):
            try:
                item = self._item(index, row)
            except RecordError as error:
                fault = Fault(
                    ErrorClass.RECORD, error.code, error.message, field=error.where, hint=error.hint
                )
                outcome.faults.append((index, fault))
                continue
            alone = row.op is Op.TRUNCATE
            full = len(part) >= _PART_ROWS or size + item.size > _PART_BYTES
            if part and (alone or full or item.key in part):
                yield list(part.values())
                part, size = {}, 0
            if alone:
                yield [item]
                continue
            part[item.key] = item
            size += item.size
        if part:
            yield list(part.values())

    def _item(self, index: int, row: Row) -> _Item:
        if row.op is Op.TRUNCATE:
            return _Item(index, row, "", Stored((), b""))
        key = self._place.key(row.key)
        deleted = row.op is Op.DELETE
        return _Item(index, row, key, Stored(("DEL",), b"-") if deleted else storing(self._place, row))

    async def _store(self, wire: Wire, part: Sequence[_Item], outcome: _Outcome) -> None:
        """Write one part. Raises TransientError when its keys change faster than they can be looked at."""
        for _ in range(_TRIES):
            replies = await wire.exchange([look for item in part for look in looks(self._place, item.key)])
            ready: list[tuple[_Item, Held]] = []
            for at, item in enumerate(part):
                held = self._wanted(wire, item, replies[2 * at : 2 * at + 2], outcome)
                if held is not None:
                    ready.append((item, held))
            part = await self._commit(wire, ready, outcome)
            if not part:
                return
        raise TransientError(
            f"The keys {clean(self._place.name)}:* are changed by somebody else faster than they can be written.",
            code="changing",
        )

    def _wanted(self, wire: Wire, item: _Item, replies: Sequence[Reply], outcome: _Outcome) -> Held | None:
        """What the key of a row holds when the row is to be written over it. Raises PlatintError."""
        for reply in replies:
            if isinstance(reply, ResponseError):
                outcome.faults.append((item.index, self._fault(wire, reply, item)))
                return None
        held = held_of(self._place, *replies)
        if not held.exists and item.row.op is Op.DELETE:
            outcome.written += 1
            return None
        if held.exists and held.key != item.row.key:
            outcome.faults.append((item.index, _foreign(item)))
            return None
        if _is_older(item.row, held):
            outcome.superseded += 1
            return None
        return held

    async def _commit(
        self, wire: Wire, ready: Sequence[tuple[_Item, Held]], outcome: _Outcome
    ) -> list[_Item]:
        """Write the rows and count them; those whose keys have changed since they were looked at come back."""
        commands = [self._commands(item, held) for item, held in ready]
        replies: Iterator[Reply] = iter(
            await wire.exchange([one for several in commands for one in several]) if ready else ()
        )
        changed: list[_Item] = []
        for (item, _), several in zip(ready, commands, strict=True):
            own = [next(replies) for _ in several]
            refused = next((reply for reply in own if isinstance(reply, ResponseError)), None)
            if refused is not None:
                outcome.faults.append((item.index, self._fault(wire, refused, item)))
            elif all(own):
                outcome.written += 1
            else:
                changed.append(item)
        return changed

    def _commands(self, item: _Item, held: Held) -> list[Command]:
        stored = item.stored
        commands = [if_still(self._place, item.key, held.state, *stored.command)]
        if item.row.op is Op.UPSERT:
            stale = [name for name in held.fields if name not in stored.fields]
            for at in range(0, len(stale), _STALE_FIELDS):
                some = stale[at : at + _STALE_FIELDS]
                commands.append(if_still(self._place, item.key, stored.state, "HDEL", *some))
        return commands

    def _fault(self, wire: Wire, refusal: ResponseError, item: _Item) -> Fault:
        """Why one row is refused. Raises PlatintError when the row is not to blame."""
        if not is_record_error(refusal, self._connector):
            raise wire.error(refusal, f"{self._place.name}:*")
        return row_fault(refusal, item.key)

    async def _truncate(self, wire: Wire) -> None:
        async for found in written(wire, self._place):
            commands = [if_still(self._place, key, held.state, "DEL") for key, held in found]
            for reply in await wire.exchange(commands):
                if isinstance(reply, ResponseError):
                    raise wire.error(reply, f"{self._place.name}:*")


def _foreign(item: _Item) -> Fault:
    return Fault(
        ErrorClass.RECORD,
        "foreign_key",
        f"The key '{clean(item.key)}' holds something that is not this row and is left as it is.",
        hint="Choose another target name in the integration, or remove that key.",
    )


def _is_older(row: Row, held: Held) -> bool:
    new, old = version_of(row.version), version_of(held.version)
    if new is None or old is None or isinstance(new, str) != isinstance(old, str):
        return False
    return new < old  # type: ignore[operator]  # both are texts or both are numbers
