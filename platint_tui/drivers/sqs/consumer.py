"""Consuming one queue: receive, keep what was given out hidden from others, delete it when it is stored.

Sources: AWS, "Amazon SQS short and long polling", "Amazon SQS visibility timeout", "ReceiveMessage". A long poll
asks every server of a queue, a short one only some, so an empty answer alone proves nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from platint_tui.core.clock import Clock
from platint_tui.core.errors import PlatintError, RateLimited, TransientError
from platint_tui.core.model import BadElement, Json, JsonObject, Page, Record
from platint_tui.drivers.sqs.api import BATCH, RECEIVE, Api
from platint_tui.drivers.sqs.queues import Queue, stream_of
from platint_tui.drivers.sqs.records import checked, record_of, sent_ms
from platint_tui.manifest.sources import Source

PARALLEL = 4
"""Receives that are out at a time while a queue has more."""
LONGEST_POLL = 20
"""Seconds that ReceiveMessage can wait."""
EMPTY = 2
"""Empty answers in a row after which a scan has seen everything."""
FRESH = 5
"""Answers in a row with nothing but what was sent after the scan began, after which it ends: a queue that is
filled all the time would never be empty."""
LOOK = 100
"""Messages that a look shows."""
LOOK_VISIBILITY = 30.0
_PATIENCE = 30.0
"""Seconds that a scan of a FIFO queue waits for an acknowledgement: what is unacknowledged holds back what
follows in its group."""
_RELEASE = 5.0
_REMEMBERED = 10_000
"""Ids of deleted messages that are remembered: a standard queue may deliver one once more."""


@dataclass(slots=True)
class Held:
    """The receipts of one page, and when they were last got or extended (monotonic seconds)."""

    receipts: list[str]
    since: float


class Consumer:
    """One reader of one queue. Its receipts are in memory only: when they are lost, the messages come again."""

    def __init__(
        self, api: Api, queue: Queue, source: Source, clock: Clock, *, counted: bool = False
    ) -> None:
        """`counted`: records have their receive count."""
        self._api = api
        self._queue = queue
        self._stream = stream_of(queue.name)
        self._source = source
        self._clock = clock
        self._counted = counted
        self._visibility = source.visibility
        self._reader = secrets.token_hex(4)
        self._number = 0
        self._held: dict[int, Held] = {}
        self._where: dict[str, int] = {}
        self._stored: dict[str, None] = {}
        self._unseen: list[str] = []
        self._settled = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self._trouble: PlatintError | None = None

    async def pages(self, *, follow: bool, peek: bool) -> AsyncGenerator[Page, None]:
        """Pages of what can be received, to the end of a scan or, with `follow`, without an end; with `peek` the
        first messages, which are given back.

        What was given out stays hidden until it is acknowledged or, when this is closed early, at once given
        back. Raises PlatintError.
        """
        if peek:
            self._visibility = LOOK_VISIBILITY
        finished = False
        self._keeper = asyncio.create_task(self._keep())
        pages = self._look() if peek else self._follow() if follow else self._scan()
        try:
            async with contextlib.aclosing(pages):
                async for page in pages:
                    finished = page.last and not peek
                    yield page
        finally:
            if not finished:
                await self.release()

    async def acknowledge(self, position: JsonObject) -> None:
        """Delete the messages of every page up to the one with this position. Raises PlatintError."""
        if position.get("reader") != self._reader:
            return  # of a reader before: its messages come again and are known by their ids
        due = {number: held for number, held in self._held.items() if number <= position["page"]}
        entries: list[dict[str, Json]] = [
            {"ReceiptHandle": receipt} for held in due.values() for receipt in held.receipts
        ]
        await self._api.batch(
            "DeleteMessageBatch", self._queue.url, entries, operation="delete", stream=self._stream
        )
        for number in due:
            self._held.pop(number, None)
        for identity in [known for known, number in self._where.items() if number in due]:
            del self._where[identity]
            self._stored[identity] = None
        for identity in list(self._stored)[: max(0, len(self._stored) - _REMEMBERED)]:
            del self._stored[identity]
        self._settled.set()

    async def release(self) -> None:
        """Give back what was not acknowledged: it can be received again at once, or when it is shown again by
        itself if the platform is away."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        receipts = [*self._unseen, *(receipt for held in self._held.values() for receipt in held.receipts)]
        self._held, self._where, self._unseen = {}, {}, []
        with contextlib.suppress(PlatintError, TimeoutError):
            async with asyncio.timeout(_RELEASE):
                await self._hide(receipts, 0)

    async def _scan(self) -> AsyncGenerator[Page, None]:
        begun = self._clock.now_ms()
        empty = fresh = 0
        async with contextlib.aclosing(
            self._answers(min(int(self._source.idle), LONGEST_POLL), None)
        ) as found:
            async for messages, alone in found:
                if messages:
                    empty = 0
                    newer = all((sent_ms(item) or 0) > begun for item in messages)
                    fresh = fresh + 1 if newer else 0
                    yield self._page(messages)
                    if fresh < FRESH:
                        continue
                    break
                empty += alone
                if empty >= EMPTY:
                    if not await self._more_may_follow():
                        break
                    empty = 0
        yield self._empty(last=True)

    async def _follow(self) -> AsyncGenerator[Page, None]:
        async with contextlib.aclosing(self._answers(LONGEST_POLL, self._source.heartbeat)) as found:
            async for messages, _ in found:
                yield self._page(messages) if messages else self._empty()

    async def _look(self) -> AsyncGenerator[Page, None]:
        seen = 0
        while seen < LOOK:
            messages = await self._receive(1)
            if not messages:
                break
            seen += len(messages)
            yield self._page(messages)
        yield self._empty(last=True)

    async def _answers(
        self, wait: int, heartbeat: float | None
    ) -> AsyncGenerator[tuple[list[JsonObject], bool], None]:
        """Messages as they come, and whether no other receive was out beside the one that brought them. Nothing,
        when none came for `heartbeat` seconds."""
        polls: set[asyncio.Task[list[JsonObject]]] = set()
        wanted = 1
        try:
            while True:
                polls |= {asyncio.create_task(self._receive(wait)) for _ in range(wanted - len(polls))}
                done, polls = await asyncio.wait(
                    polls, timeout=heartbeat, return_when=asyncio.FIRST_COMPLETED
                )
                messages = [item for task in done if task.exception() is None for item in task.result()]
                if done:
                    full = all(task.exception() is None and len(task.result()) == BATCH for task in done)
                    wanted = min(wanted * 2, PARALLEL) if full else wanted if messages else 1
                if messages or not any(task.exception() for task in done):
                    yield messages, bool(done) and not polls
                if self._trouble is not None:
                    raise self._trouble
                for task in done:
                    task.result()
        finally:
            for task in polls:
                task.cancel()
            for result in await asyncio.gather(*polls, return_exceptions=True):
                if isinstance(result, list):
                    # They came in the last moment: they are on no page, so nothing may acknowledge them.
                    self._unseen += [str(item["ReceiptHandle"]) for item in result]

    async def _receive(self, wait: int) -> list[JsonObject]:
        body: dict[str, Json] = {
            "QueueUrl": self._queue.url,
            "MaxNumberOfMessages": BATCH,
            "WaitTimeSeconds": wait,
            "VisibilityTimeout": max(1, int(self._visibility)),
            "MessageSystemAttributeNames": ["All"],
            "MessageAttributeNames": ["All"],
        }
        if self._queue.fifo:
            # When the answer is lost, the same messages come with the next try.
            body["ReceiveRequestAttemptId"] = secrets.token_hex(16)
        answer = await self._api.call("ReceiveMessage", body, operation=RECEIVE, stream=self._stream)
        return [checked(item, self._stream) for item in answer.get("Messages") or ()]

    def _page(self, messages: list[JsonObject]) -> Page:
        """A page of these messages, their receipts noted."""
        made = [record_of(self._queue.name, item, self._counted) for item in self._new(messages)]
        return Page(
            [item for item in made if isinstance(item, Record)],
            self._position(),
            last=False,
            bytes=sum(len(item.raw) for item in made),
            bad=[item for item in made if isinstance(item, BadElement)],
            happened=[sent for item in messages if (sent := sent_ms(item)) is not None],
        )

    def _new(self, messages: list[JsonObject]) -> list[JsonObject]:
        """Begin a page with these messages; those that this reader has not given out yet. A repeat is deleted
        with the page that has it, or, when that is stored, with this one."""
        self._number += 1
        held = self._held[self._number] = Held([], self._clock.monotonic())
        new = []
        for item in messages:
            identity, receipt = str(item.get("MessageId")), str(item["ReceiptHandle"])
            if identity in self._where:
                self._held[self._where[identity]].receipts.append(receipt)
                continue
            held.receipts.append(receipt)
            if identity not in self._stored:
                self._where[identity] = self._number
                new.append(item)
        return new

    def _empty(self, last: bool = False) -> Page:
        return Page((), self._position(), last=last, requests=0)

    def _position(self) -> dict[str, Json]:
        return {"v": 1, "kind": "consume", "reader": self._reader, "page": self._number}

    async def _more_may_follow(self) -> bool:
        """Whether something was acknowledged that held back what follows it in its group."""
        if not (self._queue.fifo and self._held):
            return False
        self._settled.clear()
        try:
            async with asyncio.timeout(_PATIENCE):
                await self._settled.wait()
        except TimeoutError:
            return False
        return True

    async def _keep(self) -> None:
        """Extend the visibility timeout of what is held, for as long as this runs."""
        step = self._visibility / 3
        while True:
            await self._clock.sleep(step)
            now = self._clock.monotonic()
            due = [held for held in self._held.values() if now - held.since >= step]
            try:
                await self._hide(
                    [receipt for held in due for receipt in held.receipts], max(1, int(self._visibility))
                )
            except (TransientError, RateLimited):
                continue  # the next time, or the messages come again
            except PlatintError as error:
                self._trouble = error
                return
            for held in due:
                held.since = now

    async def _hide(self, receipts: list[str], seconds: int) -> None:
        entries: list[dict[str, Json]] = [
            {"ReceiptHandle": receipt, "VisibilityTimeout": seconds} for receipt in receipts
        ]
        await self._api.batch(
            "ChangeMessageVisibilityBatch", self._queue.url, entries, operation="hide", stream=self._stream
        )
