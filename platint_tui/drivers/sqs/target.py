"""Sending rows to one queue, ten in a request.

Sources: AWS, "SendMessageBatch", "Using the message deduplication ID in Amazon SQS" (five minutes).
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from platint_tui.core.backoff import backoff
from platint_tui.core.errors import ErrorClass, PlatintError, RecordError, SystemicError
from platint_tui.core.jsontext import loads
from platint_tui.core.model import Batch, Confirmed, Fault, Row, TargetPlan, WriteResult
from platint_tui.drivers.http.calls import UNKNOWN
from platint_tui.drivers.http.session import Session
from platint_tui.drivers.http.writer import IN_FLIGHT, HttpTarget
from platint_tui.drivers.sqs.api import BATCH
from platint_tui.drivers.sqs.queues import Queue
from platint_tui.drivers.sqs.records import entry_of, key_of
from platint_tui.manifest import schema
from platint_tui.manifest.writes import ChosenWrite

SMALLEST_LIMIT = 256 * 1024
"""Bytes that every queue takes in one request, whatever its own limit for a message is."""
_DEDUPLICATED = 240.0
"""Seconds after the first try in which a FIFO queue surely drops a repeat (it does for five minutes)."""


class SqsTarget:
    """Rows go out as entries of SendMessageBatch, through the http target, which tells their outcomes apart.

    On a standard queue a lost answer makes its rows `unknown_outcome`, and none of them is sent again. On a FIFO
    queue they are, within the time in which the queue drops repeats, and requests go out one after another.
    """

    transactional = False

    def __init__(self, session: Session, plan: TargetPlan, queue: Queue) -> None:
        self._session = session
        self._fifo = queue.fifo
        self._most = queue.number("MaximumMessageSize") or SMALLEST_LIMIT
        write = ChosenWrite("create", _operation(queue.url, max(self._most, SMALLEST_LIMIT)), False)
        self._http = HttpTarget(session, plan, write, in_flight=1 if queue.fifo else IN_FLIGHT)

    @property
    def failure(self) -> PlatintError | None:
        """What ended the last batch early, before all of its rows were sent."""
        return self._http.failure

    async def confirmed(self) -> Confirmed | None:
        """A queue keeps no position for us."""
        return None

    def stop_soon(self) -> None:
        """The run is to stop: no further row is begun."""
        self._http.stop_soon()

    async def write(self, batch: Batch) -> WriteResult:
        """Send every row (see `HttpTarget.write`). A row that does not fit into a message is a fault, and so is
        one that the queue refuses; what it could not take for now is sent again."""
        faults: dict[int, Fault] = {}
        entries: dict[int, Row] = {}
        for number, row in enumerate(batch.rows):
            try:
                entry = entry_of(row, self._fifo, self._most)
            except RecordError as error:
                faults[number] = Fault(
                    ErrorClass.RECORD, error.code, error.message, field=error.where, hint=error.hint
                )
                continue
            entries[number] = row._replace(value=entry, idempotency_key=key_of(row))
        faults |= await self._send(entries)
        return WriteResult(len(batch.rows) - len(faults), 0, sorted(faults.items()))

    async def close(self) -> None:
        """Nothing is held; the connections are the driver's."""

    async def _send(self, entries: dict[int, Row]) -> dict[int, Fault]:
        """Send entries by number; the faults of those that were not taken."""
        clock, rng = self._session.context.clock, self._session.context.rng
        policy = self._session.context.connector.errors.policy.retry_policy()
        begun = clock.monotonic()
        pending = list(entries)
        faults: dict[int, Fault] = {}
        for attempt in range(1, policy.attempts + 1):
            try:
                if attempt > 1:
                    await clock.sleep(backoff(policy, attempt - 1, rng))
                result = await self._http.write(Batch([entries[number] for number in pending], None))
            except (PlatintError, asyncio.CancelledError) as error:
                if attempt == 1:
                    raise
                # Rows were taken before: what became of them is to be stored before anything ends.
                if isinstance(error, asyncio.CancelledError) and (me := asyncio.current_task()) is not None:
                    me.uncancel()
                break
            now = {pending[index]: fault for index, fault in result.faults}
            faults = {number: fault for number, fault in faults.items() if number not in pending} | now
            in_time = clock.monotonic() - begun < _DEDUPLICATED
            pending = [number for number, fault in now.items() if self._may_repeat(fault, in_time)]
            if not pending or self._http.failure is not None:
                break
        return {number: _of_now(fault) for number, fault in faults.items()}

    def _may_repeat(self, fault: Fault, in_time: bool) -> bool:
        """Whether sending the row again can do no harm: it was surely not taken, or a repeat is dropped."""
        return (self._fifo and in_time) if fault.code == UNKNOWN else _is_theirs(fault)


def _is_theirs(fault: Fault) -> bool:
    """Whether SQS refused a row for a reason of its own (`SenderFault` is false)."""
    told = (fault.response or {}).get("body")
    try:
        entry = loads(told) if isinstance(told, str) else None
    except SystemicError:
        return False
    return isinstance(entry, dict) and entry.get("SenderFault") is False


def _of_now(fault: Fault) -> Fault:
    return replace(fault, error_class=ErrorClass.TRANSIENT) if _is_theirs(fault) else fault


def _operation(url: str, most: int) -> schema.WriteOp:
    members = ("MessageBody", "MessageAttributes", "MessageGroupId", "MessageDeduplicationId")
    item: dict[str, Any] = {"Id": "${item.id}", **{name: f"${{record.{name}}}" for name in members}}
    results = schema.BulkResults(
        path="Failed", id="Id", only_failures=True, taken="Successful", code="Code", message="Message"
    )
    bulk = schema.Bulk(size=BATCH, item=item, results=results)
    return schema.WriteOp(
        path="/",
        headers={"X-Amz-Target": "AmazonSQS.SendMessageBatch"},
        body={"QueueUrl": url, "Entries": "${items}"},
        bulk=bulk.model_copy(update={"max_bytes": most}),
    )
