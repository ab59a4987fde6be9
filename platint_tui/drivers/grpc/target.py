"""A unary method as a target: it is called once for each row."""

from __future__ import annotations

from typing import Any

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from platint_tui.core.errors import (
    ErrorClass,
    PlatintError,
    RateLimited,
    RecordError,
    TransientError,
    UnknownOutcome,
)
from platint_tui.core.model import Batch, Confirmed, Fault, JsonObject, Op, Row, TargetPlan, WriteResult
from platint_tui.drivers.base import DriverContext
from platint_tui.drivers.grpc.link import Link, code_of, never_sent, trailing, translate, violated
from platint_tui.drivers.grpc.messages import as_json, decoded, fill, message_class
from platint_tui.drivers.grpc.methods import Writing
from platint_tui.drivers.grpc.reflection import Described

NOT_SENT = "not_sent"
_IN_DOUBT = frozenset({"UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED", "UNKNOWN", "INTERNAL", "DATA_LOSS"})
"""Statuses after which the method may have been carried out."""


class GrpcTarget:
    """Sends the rows of one stream; made by `GrpcDriver.open_target`. A call is never repeated by itself."""

    transactional = False
    applies: frozenset[Op] = frozenset({Op.UPSERT})

    def __init__(
        self, link: Link, described: Described, writing: Writing, plan: TargetPlan, context: DriverContext
    ) -> None:
        self._link = link
        self._described = described
        self._writing = writing
        self._plan = plan
        self._context = context

    async def confirmed(self) -> Confirmed | None:
        """A method keeps no position for us."""
        return None

    async def write(self, batch: Batch) -> WriteResult:
        """Call the method for each row in order. A row that does not fit the message or is refused is a fault; one
        whose answer was lost is a fault of code `unknown_outcome`.

        Raises TransientError, RateLimited, CredentialError, ConfigError before anything was sent; afterwards the
        rows that were not sent are faults of code `not_sent`, for those before them must not be sent twice.
        """
        faults: dict[int, Fault] = {}
        responses: dict[int, JsonObject] = {}
        failure: PlatintError | None = None
        sent = False
        for index, row in enumerate(batch.rows):
            if failure is not None:
                faults[index] = _not_sent(failure)
                continue
            try:
                request = self._request(row)
                responses[index] = await self._send(request)
            except RecordError as error:
                faults[index] = Fault(
                    ErrorClass.RECORD, error.code, error.message, field=error.where, hint=error.hint
                )
                continue
            except grpc.aio.AioRpcError as error:
                fault, failure = self._judge(error)
                if fault is not None:
                    faults[index] = fault
                elif not sent and failure is not None:
                    raise failure from None
                elif failure is not None:
                    faults[index] = _not_sent(failure)
            sent = True
        return WriteResult(len(batch.rows) - len(faults), 0, sorted(faults.items()), responses)

    def _request(self, row: Row) -> bytes:
        """The request for a row. Raises RecordError naming the field that does not fit."""
        writing, pool = self._writing, self._described.pool
        message = message_class(writing.method.input)()
        fill(message, writing.send.request, pool)
        part: Any = message
        for field in writing.path:
            part = getattr(part, field.name)
            part.SetInParent()
        fill(part, row.value, pool)
        return message.SerializeToString()

    async def _send(self, request: bytes) -> JsonObject:
        clock, method = self._context.clock, self._writing.method
        started = clock.monotonic()
        ok = False
        try:
            answer = await self._link.unary(method.path, request)
            ok = True
        finally:
            self._context.telemetry.observe(f"write {self._plan.target}", clock.monotonic() - started, ok)
        try:
            return {"body": as_json(decoded(method.output, answer), self._described.pool)}
        except (DecodeError, TypeError, ValueError):
            # It was carried out; only what it says cannot be shown.
            return {"body": None}

    def _judge(self, error: grpc.aio.AioRpcError) -> tuple[Fault | None, PlatintError | None]:
        """The fault of this row, and why the rows behind it are not sent."""
        act = f"Calling {self._plan.target}"
        judged = translate(error, self._link.address, self._context, act, writing=True)
        told = trailing(error)
        response = {"code": code_of(error), "metadata": {k: v for k, v in told.items() if isinstance(v, str)}}
        if isinstance(judged, RecordError):
            field = violated(error)
            return Fault(
                ErrorClass.RECORD, judged.code, judged.message, field, judged.hint, None, response
            ), None
        if (
            code_of(error) in _IN_DOUBT
            and not never_sent(error)
            and judged.code not in ("tls", "message_size")
        ):
            fault = Fault(
                ErrorClass.TRANSIENT,
                UnknownOutcome.code,
                f"The call was sent and no answer came ({judged.message}); it may have been carried out.",
                hint="Look at the server whether the record is there before you replay it.",
                response=response,
            )
            return fault, judged if isinstance(judged, TransientError) else None
        return None, judged

    async def close(self) -> None:
        """Nothing is held; the channel is the driver's."""


def _not_sent(failure: PlatintError) -> Fault:
    kind = ErrorClass.RATE_LIMITED if isinstance(failure, RateLimited) else failure.error_class
    return Fault(
        kind,
        NOT_SENT,
        f"Not sent: {failure.message}",
        hint="Other rows of its page were sent and must not be sent twice, so this one waits here. Replay it.",
    )
