"""Rows as entries of a Redis stream.

An entry has the fields `id`, `op` (upsert, delete or truncate), `key` (the row's identity as a JSON list) and `body`
(the row as JSON). A row in the shape of a message is sent on as that message: its body, and its `headers` as JSON
when it has any. Redis adds whatever it is sent: `id` stays the same when a row is sent again, so a consumer that
must not act twice remembers the ids that it has seen.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from redis.exceptions import ResponseError

from platint_tui.core.errors import ErrorClass, PlatintError, RecordError, TransientError, UnknownOutcome
from platint_tui.core.jsontext import dumps
from platint_tui.core.model import Batch, Confirmed, Fault, Op, Row, TargetPlan, WriteResult
from platint_tui.drivers.base import DriverContext
from platint_tui.drivers.messages import sendable
from platint_tui.drivers.redis.check import refusal_of
from platint_tui.drivers.redis.connection import Command, Reply, Wire, pairs
from platint_tui.drivers.redis.entries import entries_of
from platint_tui.drivers.redis.errors import is_record_error, row_fault
from platint_tui.drivers.redis.places import Place
from platint_tui.drivers.redis.values import encoded
from platint_tui.drivers.retries import Retries

_LOOK_BACK = 2_000


class EntriesTarget:
    """Adds rows to one stream; made by `RedisDriver.open_target`. One connection."""

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
        self._context = context
        self._operation = f"write {plan.target}"
        self._opening = Retries(context, "connect")
        self._wire: Wire | None = None

    async def prepare(self) -> None:
        """Connect, and ask whether entries may be added. Raises ConfigError with the rule that is missing."""
        await self._opening.run(self._prepare)

    async def confirmed(self) -> Confirmed | None:
        """None: Redis keeps no position."""
        return None

    async def write(self, batch: Batch) -> WriteResult:
        """Add an entry for each row; refused rows come back as faults.

        When the connection is lost, rows whose answer had not come are looked for in the stream: those that are
        there are written, the others are faults of unknown outcome, because the server may carry them out later.
        Raises TransientError when the server is away from the start: then nothing was sent. Raises ConfigError,
        SystemicError.
        """
        faults: list[tuple[int, Fault]] = []
        sent: list[int] = []
        commands: list[Command] = []
        for index, row in enumerate(batch.rows):
            try:
                commands.append(self._command(row))
            except RecordError as error:
                faults.append((index, Fault(ErrorClass.RECORD, error.code, error.message, hint=error.hint)))
            else:
                sent.append(index)
        replies: list[Reply] = []
        if commands:
            replies = await self._send(commands)
        written = 0
        unknown: list[int] = []
        refused: list[tuple[int, ResponseError]] = []
        for place, index in enumerate(sent):
            if place >= len(replies):
                unknown.append(index)
            elif isinstance(replies[place], ResponseError):
                refused.append((index, replies[place]))
            else:
                written += 1
        faults += [(index, self._fault(refusal, written > 0)) for index, refusal in refused]
        there = await self._there([batch.rows[index].idempotency_key for index in unknown])
        for index in unknown:
            if batch.rows[index].idempotency_key in there:
                written += 1
            else:
                faults.append((index, _unknown()))
        faults.sort(key=lambda item: item[0])
        return WriteResult(written, 0, faults)

    async def close(self) -> None:
        """Close the connection."""
        wire, self._wire = self._wire, None
        if wire is not None:
            await wire.close()

    async def _connected(self) -> Wire:
        if self._wire is None or self._wire.lost:
            self._wire = await self._primary()
        await self._wire.call("PING")
        return self._wire

    async def _prepare(self) -> None:
        wire = await self._connected()
        refusal = await refusal_of(wire, [("XADD", self._place.name, "*", "id", "")], self._place.name)
        if refusal is not None:
            raise refusal
        kind = await wire.call("TYPE", self._place.name, about=self._place.name)
        if kind not in (b"none", b"stream"):
            raise wire.error(ResponseError("WRONGTYPE"), self._place.name)

    def _command(self, row: Row) -> Command:
        message = sendable(row.value)
        fields = ("id", row.idempotency_key, "op", row.op.value or "upsert", "key", encoded(row.key))
        headers = ("headers", encoded(dumps(message.headers))) if message.headers else ()
        return ("XADD", self._place.name, "*", *fields, "body", message.content, *headers)

    async def _send(self, commands: Sequence[Command]) -> list[Reply]:
        """The replies that came. Raises PlatintError when nothing was sent."""
        clock, telemetry = self._context.clock, self._context.telemetry
        wire = await self._opening.run(self._connected)
        replies: list[Reply] = []
        started = clock.monotonic()
        ok = False
        try:
            await wire.exchange(commands, replies)
            ok = True
        except TransientError:
            pass
        finally:
            telemetry.observe(self._operation, clock.monotonic() - started, ok)
        return replies

    def _fault(self, refusal: ResponseError, partly: bool) -> Fault:
        """Why one row is refused. Raises PlatintError when the row is not to blame and no other one was added:
        a batch that is `partly` there must not be sent again as a whole.
        """
        if is_record_error(refusal, self._context.connector):
            return row_fault(refusal, self._place.name)
        assert self._wire is not None
        error = self._wire.error(refusal, self._place.name)
        if not partly:
            raise error
        return Fault(error.error_class, error.code, error.message, hint=error.hint)

    async def _there(self, ids: Sequence[str]) -> frozenset[str]:
        """Which of these ids the newest entries of the stream have; none when the server is away."""
        if not ids:
            return frozenset()
        try:
            wire = await self._opening.run(self._connected)
            command = ("XREVRANGE", self._place.name, "+", "-", "COUNT", len(ids) + _LOOK_BACK)
            entries = entries_of(await wire.call(*command))
        except PlatintError:
            return frozenset()
        seen = {pairs(flat).get("id", b"").decode("utf-8", "replace") for _, flat in entries if flat}
        return frozenset(seen.intersection(ids))


def _unknown() -> Fault:
    return Fault(
        ErrorClass.TRANSIENT,
        UnknownOutcome.code,
        "The connection was lost before Redis answered; the entry may have been added.",
        hint="Look for its id in the stream before you send it again.",
    )
