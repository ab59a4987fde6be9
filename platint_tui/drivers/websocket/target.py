"""Writing to a WebSocket: one message a row.

Where the manifest says how an answer looks that takes a message, each row waits for its own. Elsewhere nobody says
whether a message was carried out: a pong behind it shows that it arrived (frames are handled in their order, RFC 6455,
5.5.2), and what no pong came for has an unknown outcome.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from platint_tui.core.errors import (
    ErrorClass,
    PlatintError,
    RecordError,
    SystemicError,
    TransientError,
    UnknownOutcome,
)
from platint_tui.core.jsontext import dumps, loads
from platint_tui.core.model import Batch, Confirmed, Fault, Json, TargetPlan, WriteResult
from platint_tui.core.text import one_line
from platint_tui.drivers.http.documents import words
from platint_tui.drivers.http.matching import body_holds
from platint_tui.drivers.http.session import Session
from platint_tui.drivers.messages import sendable
from platint_tui.drivers.websocket.connection import Connection, open_connection
from platint_tui.manifest.live import Socket
from platint_tui.manifest.sources import Sink

NOT_SENT = "not_sent"
_Item = tuple[int, str | bytes]


class SocketTarget:
    """Messages that stand for rows. Nothing is sent twice: what ends a batch after its first message leaves the rest
    as faults `not_sent`, and `failure` says why."""

    transactional = False

    def __init__(self, session: Session, plan: TargetPlan, live: Socket, sink: Sink) -> None:
        self._session = session
        self._plan = plan
        self._live = live
        self._sink = sink
        self._seconds = session.context.connector.transport.timeout.total
        self._connection: Connection | None = None
        self._listener: asyncio.Task[None] | None = None
        self._verdicts: asyncio.Queue[Fault | None] = asyncio.Queue()
        self._stopping = False
        self.failure: PlatintError | None = None

    async def open(self) -> None:
        """Connect and sign in. Raises PlatintError."""
        if self._connection is not None and self._listener is not None and not self._listener.done():
            return
        await self.close()
        connection = await open_connection(self._session, self._plan.target, self._live, subscribe=False)
        self._verdicts = asyncio.Queue()
        self._connection = connection
        self._listener = asyncio.create_task(self._listen(connection))

    async def confirmed(self) -> Confirmed | None:
        """A feed keeps no position for us."""
        return None

    def stop_soon(self) -> None:
        """The run is to stop: no further message is sent."""
        self._stopping = True

    async def close(self) -> None:
        """End the connection."""
        listener, self._listener = self._listener, None
        connection, self._connection = self._connection, None
        if listener is not None:
            listener.cancel()
            await asyncio.gather(listener, return_exceptions=True)
        if connection is not None:
            await connection.close()

    async def write(self, batch: Batch) -> WriteResult:
        """Send every row. Raises PlatintError when none of the batch was sent."""
        faults: dict[int, Fault] = {}
        todo: list[_Item] = []
        for number, row in enumerate(batch.rows):
            try:
                todo.append((number, self._message(row.value)))
            except RecordError as error:
                faults[number] = Fault(ErrorClass.RECORD, error.code, error.message, error.where)
        self.failure = None
        size = 1 if self._live.taken is not None else self._sink.batch
        touched = False
        while todo and not (self._stopping and touched):
            portion, rest = todo[:size], todo[size:]
            clock, started = self._session.context.clock, self._session.context.clock.monotonic()
            try:
                await self.open()
            except PlatintError as error:
                self.failure = error
            else:
                todo = rest
                self.failure = await self._send(portion, faults)
                touched = True
            ok = self.failure is None
            self._session.context.telemetry.observe(
                f"send {self._plan.target}", clock.monotonic() - started, ok
            )
            if not ok:
                break
        if self.failure is not None and not touched:
            raise self.failure
        for number, _ in todo:
            faults[number] = _not_sent(self.failure)
        return WriteResult(len(batch.rows) - len(faults), 0, sorted(faults.items()))

    def _message(self, value: dict[str, Json]) -> str | bytes:
        content = sendable(value).content
        if self._live.form == "base64":
            return content
        try:
            return content.decode()
        except UnicodeDecodeError:
            raise RecordError("The body is no text, which this feed sends.", code="body") from None

    async def _send(self, portion: Sequence[_Item], faults: dict[int, Fault]) -> PlatintError | None:
        """Send a portion and wait for what tells that it arrived; the error that ended the connection."""
        assert self._connection is not None and self._listener is not None
        while not self._verdicts.empty():
            self._verdicts.get_nowait()  # it answers nothing that was sent since
        work = asyncio.create_task(self._exchange(self._connection, portion))
        try:
            async with asyncio.timeout(self._seconds):
                await asyncio.wait({work, self._listener}, return_when=asyncio.FIRST_COMPLETED)
        except TimeoutError:
            pass
        except asyncio.CancelledError:
            work.cancel()
            raise
        failure: PlatintError | None = None
        if work.done() and work.exception() is None:
            if (fault := work.result()) is not None:
                faults[portion[0][0]] = fault
            return None
        if work.done():
            failure = _as_error(work.exception())
        elif self._listener.done():
            failure = _as_error(self._listener.exception())
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
        failure = failure or TransientError("No answer came in time.", code="timeout")
        for number, _ in portion:
            faults[number] = _unknown(failure)
        await self.close()
        return failure

    async def _exchange(self, connection: Connection, portion: Sequence[_Item]) -> Fault | None:
        for _, message in portion:
            await connection.send(message)
        if self._live.taken is None:
            await connection.ping()
            return None
        return await self._verdicts.get()

    async def _listen(self, connection: Connection) -> None:
        while True:
            data = await connection.receive()
            try:
                document = loads(data)
            except SystemicError:
                continue
            if self._live.refused is not None and body_holds(self._live.refused, document):
                self._verdicts.put_nowait(_refused(document))
            elif self._live.taken is not None and body_holds(self._live.taken, document):
                self._verdicts.put_nowait(None)
            else:
                await connection.answered(document)


def _as_error(error: BaseException | None) -> PlatintError:
    if isinstance(error, PlatintError):
        return error
    return TransientError("The connection broke.", code="connection_broken")


def _refused(document: Json) -> Fault:
    said = words(dumps(document)) or "it does not say why"
    return Fault(ErrorClass.RECORD, "refused", f"The message is refused: {one_line(said)}.")


def _unknown(failure: PlatintError) -> Fault:
    return Fault(
        ErrorClass.TRANSIENT,
        UnknownOutcome.code,
        f"{failure.message} Whether the message was taken is not known.",
        hint="Look on the platform before replaying: nothing tells it apart from a second one.",
    )


def _not_sent(failure: PlatintError | None) -> Fault:
    why = failure.message if failure is not None else "The run was stopped."
    return Fault(
        ErrorClass.TRANSIENT,
        NOT_SENT,
        f"Not written: {why}",
        hint="Other rows of its page were sent and must not be sent twice, so this one waits here. Replay it.",
    )
