"""Reading a method: page by page, or a stream of answers.

Positions: `{"v": 1, "method": …}` with `after` (what the resume field of the next scan is filled with), and inside
a listing `token` (the next page) and `reached` (the newest value so far).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import Any

import grpc
import grpc.aio
from google.protobuf.message import DecodeError, Message

from platint_tui.core.errors import ConfigError, PlatintError, RecordError, SystemicError, TransientError
from platint_tui.core.model import BadElement, JsonObject, Page, ReadOptions, Record
from platint_tui.core.text import clean
from platint_tui.drivers.base import DriverContext
from platint_tui.drivers.grpc.known import HEALTH
from platint_tui.drivers.grpc.link import Link, code_of, translate
from platint_tui.drivers.grpc.messages import bad_bytes, decoded, fill, message_class, record_of
from platint_tui.drivers.grpc.methods import Reading
from platint_tui.drivers.grpc.reflection import Described
from platint_tui.drivers.tables import version_of

_GATHER_SECONDS = 0.02
_ALIVE_SECONDS = 5.0
_AGAIN_SECONDS = 1.0
_AWAY = frozenset({"UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED"})


class Reader:
    """Reads one stream over the channel of its driver."""

    def __init__(
        self, link: Link, described: Described, reading: Reading, stream: str, context: DriverContext
    ) -> None:
        self._link = link
        self._described = described
        self._reading = reading
        self._stream = stream
        self._context = context

    def pages(self, position: JsonObject | None, options: ReadOptions) -> AsyncIterator[Page]:
        """Pages from a position of this same reader. Raises PlatintError."""
        own = position if position and position.get("method") == self._reading.method.name else {}
        if options.mode == "snapshot":
            own = {name: item for name, item in own.items() if name != "after" or "token" in own}
        if self._reading.method.gives_many:
            return self._streamed(own, follow=options.follow and self._reading.call.follow)
        return self._listed(own)

    def _request(self, after: Any, token: str = "") -> bytes:
        """The request message. Raises ConfigError when it is not of the form that the server describes."""
        call = self._reading.call
        message = message_class(self._reading.method.input)()
        parts: list[Mapping[str, Any]] = [call.request]
        if call.resume is not None and after is not None:
            parts.append(_nested(call.resume.request, after))
        if call.page is not None and token:
            parts.append(_nested(call.page.token, token))
        try:
            for part in parts:
                fill(message, part, self._described.pool)
        except RecordError as error:
            raise ConfigError(
                f"The request for '{clean(self._stream)}' is not what the server takes: {error.message}",
                where=self._link.address.where,
                hint="Correct `call` of the stream in the manifest.",
                code="request",
            ) from None
        return message.SerializeToString()

    def _position(self, **more: Any) -> dict[str, Any]:
        given = {name: item for name, item in more.items() if item is not None}
        return {"v": 1, "method": self._reading.method.name, **given}

    def _error(self, error: grpc.aio.AioRpcError) -> PlatintError:
        return translate(error, self._link.address, self._context, f"Reading {self._stream}")

    # --- pages --------------------------------------------------------------------------------------------

    async def _listed(self, position: JsonObject) -> AsyncIterator[Page]:
        after, token, reached = position.get("after"), str(position.get("token", "")), position.get("reached")
        stored = bool(token)
        while True:
            try:
                answer = await self._ask(self._request(after, token))
            except grpc.aio.AioRpcError as error:
                if not (stored and code_of(error) == "INVALID_ARGUMENT"):
                    raise self._error(error) from None
                # Page tokens expire; the listing begins again, and records replace themselves by their key.
                token, stored = "", False
                continue
            records, bad, following = self._taken(answer)
            stored = False
            reached = self._newest(reached, records)
            if following and following == token:
                raise SystemicError(
                    f"The server answers to a page token of '{clean(self._stream)}' with the same token.",
                    where=self._link.address.where,
                    code="page_token",
                )
            token = following
            if not token:
                last = reached if reached is not None else after
                yield Page(records, self._position(after=last), True, 1, len(answer), bad)
                return
            place = self._position(after=after, token=token, reached=reached)
            yield Page(records, place, False, 1, len(answer), bad)

    async def _ask(self, request: bytes) -> bytes:
        clock = self._context.clock
        started = clock.monotonic()
        ok = False
        try:
            answer = await self._link.unary(self._reading.method.path, request)
            ok = True
        finally:
            self._context.telemetry.observe(f"read {self._stream}", clock.monotonic() - started, ok)
        return answer

    def _taken(self, answer: bytes) -> tuple[list[Record], list[BadElement], str]:
        """Records, what is none, and the next page token of an answer."""
        page = self._reading.call.page
        try:
            message = decoded(self._reading.method.output, answer)
        except DecodeError as error:
            if page is not None:
                raise SystemicError(
                    f"The answer of '{clean(self._stream)}' is not what the server described.",
                    where=self._link.address.where,
                    code="answer",
                ) from None
            return [], [bad_bytes(answer, error)], ""
        records, bad = self._split(message)
        return records, bad, str(_at(message, page.next)) if page is not None else ""

    def _split(self, message: Message) -> tuple[list[Record], list[BadElement]]:
        items: Any = message
        for field in self._reading.path:
            items = getattr(items, field.name)
        found = [
            record_of(item, self._described.pool) for item in (items if self._reading.path else [message])
        ]
        return (
            [item for item in found if isinstance(item, Record)],
            [item for item in found if isinstance(item, BadElement)],
        )

    def _newest(self, reached: Any, records: list[Record]) -> Any:
        """The greatest value of the resume field, as far as values of one kind can be compared."""
        for value in self._marks(records):
            if _is_newer(value, reached):
                reached = value
        return reached

    def _marks(self, records: list[Record]) -> list[Any]:
        resume = self._reading.call.resume
        if resume is None:
            return []
        values = (_of(record.value, resume.record) for record in records)
        return [value for value in values if value is not None]

    # --- streams of answers -------------------------------------------------------------------------------

    async def _streamed(self, position: JsonObject, *, follow: bool) -> AsyncIterator[Page]:
        after = position.get("after")
        while True:
            incoming = _Incoming(self._link, self._reading.method.path, self._request(after), not follow)
            try:
                async with contextlib.aclosing(self._pages_of(incoming, after, follow=follow)) as pages:
                    async for page in pages:
                        after = page.position.get("after", after)
                        yield page
            except grpc.aio.AioRpcError as error:
                self._context.telemetry.observe(f"read {self._stream}", incoming.seconds, False)
                raise self._error(error) from None
            finally:
                await incoming.close()
            if not follow:
                return
            # The server has ended the stream in good order: it goes on behind the last record.
            await self._context.clock.sleep(_AGAIN_SECONDS)

    async def _pages_of(self, incoming: _Incoming, after: Any, *, follow: bool) -> AsyncGenerator[Page, None]:
        source = self._reading.source
        resumes = self._reading.call.resume is not None
        wait = min(source.heartbeat, _ALIVE_SECONDS) if follow else source.idle
        while True:
            taken = await incoming.take(min(source.chunk, 10_000), wait)
            records: list[Record] = []
            bad: list[BadElement] = []
            for data in taken:
                found, refused = self._of_answer(data)
                records += found
                bad += refused
            marks = self._marks(records)
            after = marks[-1] if marks else after
            size = sum(map(len, taken))
            if taken:
                self._context.telemetry.observe(f"read {self._stream}", incoming.seconds, True)
            # An answer without an end is read to its present end; where nothing says how it goes on, to its end.
            over = incoming.ended or (not taken and not follow and resumes)
            last = over and not follow
            if taken or last or (follow and not incoming.ended):
                if not taken and follow:
                    await self._alive()
                yield Page(records, self._position(after=after), last, 1, size, bad)
            if over:
                return

    def _of_answer(self, data: bytes) -> tuple[list[Record], list[BadElement]]:
        try:
            return self._split(decoded(self._reading.method.output, data))
        except DecodeError as error:
            return [], [bad_bytes(data, error)]

    async def _alive(self) -> None:
        """Ask the server over the same connection whether it is there; any answer of its own says so.

        A call counts as data, so that servers which want few pings on quiet connections (gRFC A8) do not end it.
        """
        try:
            await self._link.unary(HEALTH, b"", seconds=self._link.address.connect_seconds)
        except grpc.aio.AioRpcError as error:
            if code_of(error) in _AWAY:
                raise TransientError(
                    "The server does not answer any more.",
                    where=self._link.address.where,
                    code=code_of(error),
                ) from None


class _Incoming:
    """The answers of one call, as they come."""

    def __init__(self, link: Link, path: str, request: bytes, limited: bool) -> None:
        timeout = link.address.deadline if limited else None
        method: Any = link.channel.unary_stream(path)
        self._call = method(request, timeout=timeout, metadata=link.metadata)
        self._next: asyncio.Task[Any] | None = None
        self._loop = asyncio.get_running_loop()
        self._begun = self._loop.time()
        self.ended = False

    @property
    def seconds(self) -> float:
        """Since the last answers were taken."""
        return self._loop.time() - self._begun

    async def take(self, most: int, wait: float) -> list[bytes]:
        """Answers, none when `wait` seconds went by without one. Raises grpc.aio.AioRpcError."""
        self._begun = self._loop.time()
        taken: list[bytes] = []
        while len(taken) < most and not self.ended:
            if self._next is None:
                self._next = asyncio.ensure_future(self._call.read())
            patience = _GATHER_SECONDS if taken else wait
            done, _ = await asyncio.wait([self._next], timeout=patience)
            if not done:
                break
            task, self._next = self._next, None
            try:
                answer = task.result()
            except grpc.aio.AioRpcError:
                if taken:
                    # What came is given first; the next call of `take` raises the same.
                    self._next = task
                    return taken
                raise
            if answer is grpc.aio.EOF:
                self.ended = True
            else:
                taken.append(answer)
        return taken

    async def close(self) -> None:
        """End the call."""
        self._call.cancel()
        if self._next is not None:
            self._next.cancel()
            with contextlib.suppress(grpc.aio.AioRpcError, asyncio.CancelledError):
                await self._next


def _is_newer(value: Any, reached: Any) -> bool:
    """Whether a value comes behind another; values of two kinds have no order."""
    new, old = version_of(value), version_of(reached)
    if old is None:
        return True
    if isinstance(new, str) and isinstance(old, str):
        return new > old
    return isinstance(new, int | float) and isinstance(old, int | float) and new > old


def _nested(path: str, value: Any) -> dict[str, Any]:
    """`{"a": {"b": value}}` for the path `a.b`."""
    result = value
    for name in reversed(path.split(".")):
        result = {name: result}
    return dict(result)


def _of(value: Any, path: str) -> Any:
    """What is at a path of a record, None when it is not there."""
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _at(message: Message, path: str) -> Any:
    """What is at a path of a message that was checked against its description."""
    value: Any = message
    for name in path.split("."):
        value = getattr(value, name, "")
    return value
